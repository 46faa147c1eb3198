"""Where plugins connect: a socket for root alone."""

from __future__ import annotations

import asyncio
import os
import socket
import struct

from podwright.base.errors import FailedPrecondition
from podwright.base.log import get_logger
from podwright.base.tasks import Tasks
from podwright.nri.hub import Hub
from podwright.nri.settings import Settings

log = get_logger(__name__)

_CREDENTIALS = struct.Struct("3i")  # unix(7), SO_PEERCRED: pid, uid, gid


class Listener:
    """`start` and `stop` bracket its life."""

    def __init__(self, settings: Settings, hub: Hub) -> None:
        self._path, self._hub = settings.socket, hub
        self._tasks = Tasks("nri plugin")
        self._server: asyncio.Server | None = None
        self._inode = 0

    async def start(self) -> None:
        """Listen. Raises FailedPrecondition when somebody else does, OSError."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._path.exists() and _answers(str(self._path)):
            raise FailedPrecondition(f"another runtime serves {self._path}: set nri.socket, or nri.enabled = false")
        self._path.unlink(missing_ok=True)
        mask = os.umask(0o177)  # the socket is never, not for a moment, open to others
        try:
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            listening.bind(str(self._path))
        finally:
            os.umask(mask)
        self._inode = self._path.stat().st_ino
        self._server = await asyncio.start_unix_server(self._accept, sock=listening)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer: socket.socket = writer.get_extra_info("socket")
        pid, uid, _ = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        if uid != os.geteuid():
            log.warning("an NRI plugin of another user is turned away", pid=pid, uid=uid)
            writer.transport.abort()
            return
        self._tasks.start(self._hub.serve(reader, writer), name=f"pid {pid}")

    async def stop(self) -> None:
        """Let nobody in any more, and wait until those that were are gone."""
        if self._server is None:
            return
        self._server.close()
        try:
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
        except FileNotFoundError:
            pass
        await self._tasks.close()


def _answers(path: str) -> bool:
    """Whether somebody listens on a socket: a crash leaves one on which nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except BlockingIOError:
            return True  # its queue is full
        except OSError:
            return False
        return True
