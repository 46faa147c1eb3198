"""The end of containers: one watcher task each, which turns the monitor's word into facts.

`Exits.watch` is called when a container is created and when one is found again after a restart. What an end
means (exit code, reason, OOM) is decided here, while the cgroup still exists; then the runtime forgets the
container. Stop and remove await `ended`.
"""

from __future__ import annotations

import asyncio

from podwright.base.errors import PodwrightError
from podwright.base.log import get_logger, log_context
from podwright.base.tasks import Tasks
from podwright.container.collaborators import Collaborators
from podwright.container.model import Container
from podwright.container.oom import OomKills
from podwright.monitor.base import Exit, Monitored
from podwright.nri.base import Event

log = get_logger(__name__)


class Exits:
    """Watches every live container. `on_exit` hooks run after the facts are stored."""

    def __init__(self, on: Collaborators, tasks: Tasks) -> None:
        self._on = on
        self._tasks = tasks
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._ended: dict[str, asyncio.Event] = {}
        self._oom = OomKills(on)

    def watch(self, container: Container) -> None:
        """Start watching a container that has a process."""
        if container.id in self._watchers or container.finished:
            return
        self._ended[container.id] = asyncio.Event()
        self._oom.watch(container)
        self._watchers[container.id] = self._tasks.start(self._watch(container), name=f"watch {container.id[:13]}")

    async def _watch(self, container: Container) -> None:
        with log_context(container=container.id[:13]):
            try:
                ended = await self._on.monitor.wait_exit(monitored(self._on, container))
                await self.record(container, ended)
            finally:
                self._watchers.pop(container.id, None)

    async def record(self, container: Container, ended: Exit) -> None:
        """Store the facts of an end, then let the runtime forget the container. Facts come first: Stop shows them."""
        if container.id in self._on.containers and not container.finished:
            reason, message = self._explain(container, ended)
            # One that ended before the runtime's start returned has run; its start is told before its end.
            started_at = container.record.started_at or (ended.finished_at_ns if container.starting else 0)
            self._on.containers.update(
                container.id, started_at=started_at, finished_at=max(ended.finished_at_ns, started_at),
                exit_code=ended.exit_code, reason=reason, message=message,
            )  # fmt: skip
            log.info("container ended", exit_code=ended.exit_code, reason=reason)
            await self._on.plugins.after(Event.STOP_CONTAINER, container.id)
        if (event := self._ended.pop(container.id, None)) is not None:
            event.set()
        await self.release_runtime(container)

    async def release_runtime(self, container: Container) -> None:
        """Remove the runtime's state and cgroup of a container that ended. Idempotent; a failure is tried again
        by remove."""
        if container.record.runtime_released_at or container.id not in self._on.containers:
            return
        async with self._on.locks.hold(("runtime", container.id)):
            if container.record.runtime_released_at or container.id not in self._on.containers:
                return
            runtime = self._on.handlers.runtime(container.record.handler)
            await runtime.delete(container.id, force=True)
            self._on.containers.update(container.id, runtime_released_at=container.record.finished_at or 1)

    def _explain(self, container: Container, ended: Exit) -> tuple[str, str]:
        """Reason and message in the kubelet's words. OOM kills that the first process survived don't count."""
        oom_killed = self._oom.killed(container)
        if ended.lost:
            return "Error", "the monitor died before the container did: its exit code is not known"
        if ended.exit_code == 0:
            return "Completed", ""
        if lost := self._lost(container):
            return "Error", lost
        if ended.oom_hint or oom_killed or self._out_of_memory(container):
            return "OOMKilled", "a process of the container was killed because its memory limit was reached"
        return "Error", ""

    def _lost(self, container: Container) -> str:
        """What the runtime knows of the end; nothing where the handler is not configured any more."""
        try:
            return self._on.handlers.runtime(container.record.handler).lost(container.id)
        except PodwrightError:
            return ""

    def _out_of_memory(self, container: Container) -> bool:
        """What another kernel knows of the end."""
        try:
            return self._on.handlers.runtime(container.record.handler).out_of_memory(container.id)
        except PodwrightError:
            return False

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
        if (container := self._on.containers.find_or_none(container_id)) is not None:
            self._oom.forget(container)


def monitored(on: Collaborators, container: Container) -> Monitored:
    """The monitor's handle, made again from the record."""
    process, monitor = container.process, container.monitor
    assert process is not None
    assert monitor is not None
    return Monitored(
        container_id=container.id, process=process, monitor=monitor,
        bundle=str(on.layout.bundle(container.id)), log_path=container.record.log_path,
    )  # fmt: skip
