"""StopContainer: the stop signal, the grace, SIGKILL for all, and a second call that may shorten the wait.

A stop belongs to the daemon: a caller that goes away does not end it, a later one joins it. The facts of the
end (exit code, finished_at) are stored before any caller gets its answer.
"""

from __future__ import annotations

import asyncio
import signal
import time

from podwright.base.errors import DeadlineExceeded
from podwright.base.log import get_logger, log_context
from podwright.base.tasks import Tasks
from podwright.container.collaborators import Collaborators
from podwright.container.exits import Exits
from podwright.container.model import Container
from podwright.criapi import api_pb2 as pb
from podwright.monitor.base import Exit

log = get_logger(__name__)

# What is still there so long after SIGKILL may be paused: in a freezer of cgroup v1 no signal arrives.
_THAW_AFTER_S = 1.0


class _Stop:
    """One running stop: when it turns to SIGKILL, and who tells it that this moved."""

    def __init__(self, kill_at: float) -> None:
        self.kill_at = kill_at
        self.changed = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class Stopper:
    """All running stops, by container."""

    def __init__(self, on: Collaborators, exits: Exits, tasks: Tasks) -> None:
        self._on, self._exits, self._tasks = on, exits, tasks
        self._stops: dict[str, _Stop] = {}

    async def stop(self, container: Container, grace_s: float) -> None:
        """Stop within `grace_s` seconds (0: SIGKILL at once). Ended or never started: success.

        Raises DeadlineExceeded when even SIGKILL did not end it (a process in uninterruptible sleep); the daemon
        goes on watching and a later call may find it ended.
        """
        if container.finished or not container.record.created_at:
            return
        if container.record.restored and await self._give_up_restore(container):
            return
        kill_at = time.monotonic() + max(0.0, grace_s)
        stop = self._stops.get(container.id)
        if stop is None:
            stop = self._stops[container.id] = _Stop(kill_at)
            stop.task = self._tasks.start(self._run(container, stop), name=f"stop {container.id[:13]}")
        elif kill_at < stop.kill_at:
            stop.kill_at = kill_at
            stop.changed.set()
        assert stop.task is not None
        await asyncio.shield(stop.task)

    async def _give_up_restore(self, container: Container) -> bool:
        """One that was to come from a checkpoint and has no process yet has ended; False when there is a process."""
        async with self._on.locks.hold(container.id):
            if container.awaits_restore:
                await self._exits.record(container, Exit(128 + signal.SIGKILL, time.time_ns()))
                return True
            return container.finished

    async def _run(self, container: Container, stop: _Stop) -> None:
        try:
            with log_context(container=container.id[:13]):
                ended = self._tasks.start(self._exits.ended(container), name=f"end of {container.id[:13]}")
                try:
                    await self._signal_and_wait(container, stop, ended)
                    if not ended.done():
                        await self._kill(container, ended)
                finally:
                    ended.cancel()
        finally:
            del self._stops[container.id]

    async def _signal_and_wait(self, container: Container, stop: _Stop, ended: asyncio.Task[None]) -> None:
        if time.monotonic() >= stop.kill_at or not container.record.started_at:
            return
        runtime = self._on.handlers.runtime(container.record.handler)
        await runtime.kill(container.id, container.record.stop_signal, process=container.process)
        while not ended.done() and (left := stop.kill_at - time.monotonic()) > 0:
            stop.changed.clear()
            changed = self._tasks.start(stop.changed.wait(), name="shorter grace")
            await asyncio.wait({ended, changed}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()

    async def _kill(self, container: Container, ended: asyncio.Task[None]) -> None:
        """SIGKILL everything in the container. The cgroup finds processes that the pid namespace does not
        (a pod that shares its PID namespace); both, because a virtual machine has no such cgroup."""
        runtime = self._on.handlers.runtime(container.record.handler)
        await runtime.kill(container.id, signal.SIGKILL, process=container.process)
        if container.config.linux.security_context.namespace_options.pid != pb.CONTAINER:
            await self._on.cgroups.kill_all(container.record.cgroup)
        await asyncio.wait({ended}, timeout=min(_THAW_AFTER_S, self._on.settings.stop_kill_wait_s))
        if not ended.done():
            await runtime.resume(container.id)
            await asyncio.wait({ended}, timeout=self._on.settings.stop_kill_wait_s)
        if not ended.done():
            raise DeadlineExceeded(
                f"container {container.id[:13]} did not end {self._on.settings.stop_kill_wait_s:g} s after SIGKILL: "
                "a process hangs in the kernel (see /proc/PID/stack); it is watched on"
            )
