"""Which container is in which shim: a file a container, and a connection a shim.

The file is written before the shim's program runs and removed when the container is gone, so that after a crash, or a
restart of the daemon, whatever there is can be found by a container's id.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from podwright.base.errors import FailedPrecondition
from podwright.base.files import write_plain
from podwright.base.locks import KeyedLocks
from podwright.base.log import get_logger
from podwright.base.tasks import Tasks
from podwright.runtime.base import RuntimeFailed
from podwright.shim.bootstrap import Endpoint
from podwright.shim.connection import Connection
from podwright.shim.program import Programs, ShimCommand
from podwright.shim.task import Task
from podwright.ttrpc.errors import ConnectionLost

log = get_logger(__name__)


class Place(msgspec.Struct, frozen=True):
    """Where a container is, and of which program its shim is. `socket` '': it has not said yet where it serves."""

    bundle: str
    program: str
    options: bytes
    socket: str = ""
    version: int = 0

    @property
    def command(self) -> ShimCommand:
        return ShimCommand(Path(self.program), options=self.options)


class Shims:
    """`directory` holds the files. `close` ends the connections; shims live on."""

    def __init__(self, directory: Path, programs: Programs, *, timeout_s: float) -> None:
        self._directory, self._programs, self._timeout_s = directory, programs, timeout_s
        self._connections: dict[str, Connection] = {}
        self._locks = KeyedLocks()
        self._tasks = Tasks("shim")

    async def start(self, command: ShimCommand, container_id: str, bundle: Path) -> Task:
        """A shim for a new container. Raises what `Programs.start` does, ConnectionLost."""
        place = Place(str(bundle), str(command.path), command.options)
        self._write(container_id, place)
        endpoint = await self._programs.start(command, container_id, bundle)
        self._write(container_id, msgspec.structs.replace(place, socket=endpoint.path, version=endpoint.version))
        return await self._task(container_id, endpoint)

    def place(self, container_id: str) -> Place | None:
        """None for a container that is in no shim, or no longer."""
        try:
            return msgspec.json.decode((self._directory / container_id).read_bytes(), type=Place)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError:
            log.error("a shim's file can't be read", container=container_id[:13])
            return None

    async def task(self, container_id: str) -> Task:
        """Raises FailedPrecondition for a container that is in no shim, ConnectionLost when the shim is dead."""
        place = self.place(container_id)
        if place is None:
            raise FailedPrecondition(f"container {container_id[:13]} is in no shim")
        if not place.socket:
            raise ConnectionLost(f"the shim of container {container_id[:13]} never served")
        return await self._task(container_id, Endpoint(place.socket, place.version))

    async def _task(self, container_id: str, endpoint: Endpoint) -> Task:
        async with self._locks.hold(endpoint.path):
            connection = self._connections.get(endpoint.path)
            if connection is None:
                connection = await Connection.open(endpoint, self._tasks, lambda: self._lost(endpoint.path))
                self._connections[endpoint.path] = connection
        return Task(connection, container_id, timeout_s=self._timeout_s)

    def _lost(self, path: str) -> None:
        self._connections.pop(path, None)

    async def clean_up(self, container_id: str) -> None:
        """Remove what a dead shim has left of a container. Idempotent. Raises DeadlineExceeded.

        A failure of the shim's program is logged and no error, for it fails where there is nothing to remove as well.
        """
        place = self.place(container_id)
        if place is None or not Path(place.bundle).exists():
            return
        try:
            await self._programs.delete(place.command, container_id, Path(place.bundle))
        except RuntimeFailed as error:
            log.warning("what a dead shim left can't be removed", container=container_id[:13], error=str(error))

    def forget(self, container_id: str) -> None:
        (self._directory / container_id).unlink(missing_ok=True)

    def _write(self, container_id: str, place: Place) -> None:
        write_plain(self._directory / container_id, msgspec.json.encode(place), mode=0o600)

    async def close(self) -> None:
        for connection in list(self._connections.values()):
            await connection.close()
        await self._tasks.close()
