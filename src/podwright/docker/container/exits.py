"""The end of containers: seen by the kernel's word on their first process, explained by the engine's.

One watcher a container that runs. An engine that is restarting is waited for: what it says of the end is stored then.
"""

from __future__ import annotations

import asyncio
import signal
import time

from podwright.base.errors import Unavailable
from podwright.base.log import get_logger, log_context
from podwright.container.model import EXIT_CODE_LOST, Container
from podwright.docker.answers import State
from podwright.docker.collaborators import Collaborators
from podwright.docker.container.logs import Logs
from podwright.docker.engine_containers import inspect, kill
from podwright.docker.naming import container_name
from podwright.linux.pidfd import wait_end

log = get_logger(__name__)

_POLL_S, _POLL_MAX_S = 0.005, 1.0


class Exits:
    """Watches every container that runs."""

    def __init__(self, on: Collaborators, logs: Logs) -> None:
        self._on, self._logs = on, logs
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._ended: dict[str, asyncio.Event] = {}

    def watch(self, container: Container) -> None:
        """Start watching a container that was started."""
        if container.id in self._watchers or container.finished:
            return
        self._ended[container.id] = asyncio.Event()
        self._watchers[container.id] = self._on.tasks.start(self._watch(container), name=f"watch {container.id[:13]}")

    async def _watch(self, container: Container) -> None:
        with log_context(container=container.id[:13]):
            try:
                if container.process is not None:
                    await wait_end(container.process)
                state = await self._final_state(container)
                await self._logs.drain(container)
                self.record(container, state)
            finally:
                self._watchers.pop(container.id, None)

    async def _final_state(self, container: Container) -> State | None:
        """What the engine says once it, too, knows of the end; None: it knows no such container any more."""
        name, pause_s = container_name(container), _POLL_S
        while True:
            try:
                found = await inspect(self._on.engine, name)
            except Unavailable:
                pause_s = _POLL_MAX_S
            else:
                if found is None or not found.state.running:
                    return None if found is None else found.state
                if found.state.pid not in (0, container.record.pid):
                    log.warning("somebody else has started a container again that had ended; it is killed", name=name)
                    await kill(self._on.engine, name, signal.SIGKILL)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _POLL_MAX_S)

    def record(self, container: Container, state: State | None) -> None:
        """Store the facts of an end. `state` None: the engine has lost the container."""
        if container.id in self._on.containers and not container.finished:
            finished_at = state.finished_ns if state is not None and state.finished_ns else time.time_ns()
            started_at = container.record.started_at or (state.started_ns if state is not None else 0)
            reason, message = _explain(state)
            self._on.containers.update(
                container.id, started_at=started_at, finished_at=max(finished_at, started_at),
                exit_code=EXIT_CODE_LOST if state is None else state.exit_code, reason=reason, message=message,
            )  # fmt: skip
            log.info("container ended", exit_code=container.record.exit_code, reason=reason)
        if (event := self._ended.pop(container.id, None)) is not None:
            event.set()

    async def ended(self, container: Container) -> None:
        """Return when the container's end is stored (at once when it has ended or never ran)."""
        event = self._ended.get(container.id)
        if event is not None:
            await event.wait()

    def forget(self, container_id: str) -> None:
        """The container is being removed."""
        if (watcher := self._watchers.pop(container_id, None)) is not None:
            watcher.cancel()
        if (event := self._ended.pop(container_id, None)) is not None:
            event.set()


def _explain(state: State | None) -> tuple[str, str]:
    """Reason and message in the kubelet's words. OOM kills that the first process survived don't count."""
    if state is None:
        return "Error", "somebody removed the container from Docker: its exit code is not known"
    if state.exit_code == 0:
        return "Completed", ""
    if state.oom_killed:
        return "OOMKilled", "a process of the container was killed because its memory limit was reached"
    return "Error", state.error
