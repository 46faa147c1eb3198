"""The logs of all containers that run: one pump each, from the start to the last byte."""

from __future__ import annotations

import asyncio
from pathlib import Path

from podwright.base.errors import FailedPrecondition
from podwright.base.log import get_logger
from podwright.container.model import Container
from podwright.docker.collaborators import Collaborators
from podwright.docker.container.log_place import LogPlaces
from podwright.docker.container.log_pump import LogPump
from podwright.docker.naming import container_name
from podwright.monitor.log_file import create_log
from podwright.wire.docker_log import LogPlace

log = get_logger(__name__)

_FINISH_TIMEOUT_S = 120.0


class Logs:
    """Pumps by container id. A container without a log path has none."""

    def __init__(self, on: Collaborators, places: LogPlaces) -> None:
        self._on, self._places = on, places
        self._pumps: dict[str, tuple[LogPump, asyncio.Task[None]]] = {}

    def create(self, container: Container) -> None:
        """Make the file, before there is anything to write: the kubelet looks for it right after the start."""
        if container.record.log_path:
            path = Path(container.record.log_path)
            create_log(path)
            self._places.begin(container.id, path, LogPlace())

    def follow(self, container: Container) -> None:
        """Bring the container's output to its file, from where that ends."""
        record = container.record
        if not record.log_path or container.id in self._pumps:
            return
        pump = LogPump(
            self._on.engine, container_name(container), container_id=container.id, path=Path(record.log_path),
            tty=container.config.tty, places=self._places,
        )  # fmt: skip
        task = self._on.tasks.start(pump.run(), name=f"log of {container.id[:13]}")
        self._pumps[container.id] = (pump, task)
        task.add_done_callback(lambda _done: self._pumps.pop(container.id, None))

    async def drain(self, container: Container) -> None:
        """After the container's end: wait for the rest of its output, as long as the settings say; what is not there by
        then comes later."""
        if container.id in self._pumps:
            pump, task = self._pumps[container.id]
            pump.container_ended()
            await asyncio.wait({task}, timeout=self._on.settings.log_drain_timeout_s)
            if not task.done():
                log.info("the end of a container's log comes later than its end", container=container.id[:13])

    def resume(self, container: Container) -> None:
        """After a restart of ours: the rest of the output of a container whose end is known."""
        if not self._places.is_complete(container.id):
            self.follow(container)
            if container.id in self._pumps:
                self._pumps[container.id][0].container_ended()

    async def finish(self, container: Container) -> None:
        """Before the engine forgets its log. An engine that doesn't answer is not waited for without end."""
        if container.finished and container.id in self._pumps:
            task = self._pumps[container.id][1]
            await asyncio.wait({task}, timeout=_FINISH_TIMEOUT_S)
            if not task.done():
                log.warning("the end of a container's log is lost: it can't be read", container=container.id[:13])

    def reopen(self, container: Container) -> None:
        """Raises FailedPrecondition when nobody writes the log."""
        if container.id not in self._pumps:
            raise FailedPrecondition(f"container {container.id[:13]} has no log that is written")
        self._pumps[container.id][0].reopen()

    def forget(self, container_id: str) -> None:
        """The container is being removed; its log stays, it is the kubelet's."""
        if (pump := self._pumps.pop(container_id, None)) is not None:
            pump[1].cancel()
        self._places.forget(container_id)
        self._on.layers.forget(container_id)
