"""Where shims send their events: a socket for root alone, at the same path for every daemon on one run directory, so
that shims find the next daemon. Exits are asked for (`Task.wait`) and not taken from here, where they could be missed;
what only an event tells is that memory ran out."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

from google.protobuf.message import DecodeError

from podwright.base.errors import FailedPrecondition
from podwright.base.log import get_logger
from podwright.base.tasks import Tasks
from podwright.shim import shim_pb2 as pb
from podwright.shim.names import EVENTS_SERVICE, TASK_OOM, is_a
from podwright.ttrpc.server import Method, Server
from podwright.wire import ttrpc

log = get_logger(__name__)

_READ_BYTES = 65536
# unix(7): sun_path. Shims, other than we, have only the path.
_SUN_PATH_BYTES = 107


class Events:
    """`start` and `close` bracket its life."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tasks = Tasks("shim events")
        self._server: asyncio.Server | None = None
        self._problem = "the socket for events of shims is not open"
        self._oom: set[str] = set()

    async def start(self) -> None:
        """Listen; what an earlier daemon has left there is replaced. For a path that is too long see `require`."""
        if len(os.fsencode(self.path)) > _SUN_PATH_BYTES:
            self._problem = f"{self.path} is too long a path for a socket: give a shorter --run"
            return
        self.path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        mask = os.umask(0o177)  # never, not for a moment, open to others
        try:
            listening.bind(str(self.path))
        except OSError:
            listening.close()
            raise
        finally:
            os.umask(mask)
        self._server = await asyncio.start_unix_server(self._accept, sock=listening)
        self._problem = ""

    def require(self) -> None:
        """Raises FailedPrecondition when it does not listen: shims would not start."""
        if self._problem:
            raise FailedPrecondition(self._problem)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.start(self._serve(reader, writer), name="shim")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = Server(writer.write, {(EVENTS_SERVICE, "Forward"): Method(pb.ForwardRequest, self._forward)})
        try:
            while data := await reader.read(_READ_BYTES):
                server.feed(data)
                await writer.drain()
        except (ttrpc.ProtocolError, OSError) as error:
            log.warning("a shim's events can't be read", error=str(error))
        finally:
            writer.transport.abort()
            await server.close()

    async def _forward(self, request: pb.ForwardRequest) -> pb.Empty:
        event = request.envelope.event
        if is_a(event, TASK_OOM):
            try:
                self._oom.add(pb.TaskOOM.FromString(event.value).container_id)
            except DecodeError as error:
                log.warning("a shim's event can't be read", topic=request.envelope.topic, error=str(error))
        return pb.Empty()

    def out_of_memory(self, container_id: str) -> bool:
        """Whether a shim has said so of this container, to this daemon."""
        return container_id in self._oom

    def forget(self, container_id: str) -> None:
        self._oom.discard(container_id)

    async def close(self) -> None:
        """Shims keep what they can't send, and try again for some seconds."""
        if self._server is not None:
            self._server.close()
            self._server = None
            await self._tasks.close()
            self.path.unlink(missing_ok=True)
