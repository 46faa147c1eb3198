"""StopContainer: the stop signal, the grace, SIGKILL for all, and a second call that may shorten the wait.

A stop belongs to the daemon: a caller that goes away does not end it, a later one joins it. The facts of the
end (exit code, finished_at) are stored before any caller gets its answer. How signals get to a container is its
backend's business: `ending.RuntimeEnding` for OCI runtimes.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from podwright.base.errors import DeadlineExceeded
from podwright.base.log import log_context
from podwright.base.tasks import Tasks
from podwright.container.model import Container

# What is still there so long after SIGKILL may be paused: in a freezer of cgroup v1 no signal arrives.
_THAW_AFTER_S = 1.0


class Ending(Protocol):
    """How a backend ends its containers. Each call is success for one that has ended meanwhile."""

    async def give_up(self, container: Container) -> bool:
        """One that has no process yet has ended; False when there is a process."""
        ...

    async def ask(self, container: Container) -> None:
        """Send its stop signal."""
        ...

    async def kill(self, container: Container) -> None:
        """SIGKILL all that is in it."""
        ...

    async def thaw(self, container: Container) -> None:
        """Let go on what may be frozen."""
        ...

    async def ended(self, container: Container) -> None:
        """Return when its end is stored."""
        ...


class _Stop:
    """One running stop: when it turns to SIGKILL, and who tells it that this moved."""

    def __init__(self, kill_at: float) -> None:
        self.kill_at = kill_at
        self.changed = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class Stopper:
    """All running stops, by container."""

    def __init__(self, ending: Ending, tasks: Tasks, *, kill_wait_s: float) -> None:
        self._ending, self._tasks, self._kill_wait_s = ending, tasks, kill_wait_s
        self._stops: dict[str, _Stop] = {}

    async def stop(self, container: Container, grace_s: float) -> None:
        """Stop within `grace_s` seconds (0: SIGKILL at once). Ended or never started: success.

        Raises DeadlineExceeded when even SIGKILL did not end it (a process in uninterruptible sleep); the daemon
        goes on watching and a later call may find it ended.
        """
        if container.finished or not container.record.created_at:
            return
        if await self._ending.give_up(container):
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
        await self._tasks.join(stop.task)

    async def _run(self, container: Container, stop: _Stop) -> None:
        try:
            with log_context(container=container.id[:13]):
                ended = self._tasks.start(self._ending.ended(container), name=f"end of {container.id[:13]}")
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
        await self._ending.ask(container)
        while not ended.done() and (left := stop.kill_at - time.monotonic()) > 0:
            stop.changed.clear()
            changed = self._tasks.start(stop.changed.wait(), name="shorter grace")
            await asyncio.wait({ended, changed}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()

    async def _kill(self, container: Container, ended: asyncio.Task[None]) -> None:
        await self._ending.kill(container)
        await asyncio.wait({ended}, timeout=min(_THAW_AFTER_S, self._kill_wait_s))
        if not ended.done():
            await self._ending.thaw(container)
            await asyncio.wait({ended}, timeout=self._kill_wait_s)
        if not ended.done():
            raise DeadlineExceeded(
                f"container {container.id[:13]} did not end {self._kill_wait_s:g} s after SIGKILL: "
                "a process hangs in the kernel (see /proc/PID/stack); it is watched on"
            )
