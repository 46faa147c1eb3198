"""Unix sockets whose path may be longer than the 107 bytes of sun_path, and descriptors that come over one. unix(7)."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from podwright.linux.process import readable


def connect_seqpacket(path: Path) -> socket.socket:
    """A non-blocking SOCK_SEQPACKET connection. Raises OSError (nobody listens, or the queue is full)."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{directory}/{path.name}")
    except BaseException:
        connection.close()
        raise
    finally:
        os.close(directory)
    return connection


class DescriptorSocket:
    """Listens for a connection that brings a descriptor.

    `path` is the way to it for a program of this host: short, however long the directory's path is, and valid until
    `close`.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self._file = directory / name
        self._directory = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._connection: socket.socket | None = None
        try:
            self._listener.bind(f"/proc/self/fd/{self._directory}/{name}")
            self._listener.listen()
        except BaseException:
            self.close()
            raise
        self.path = Path(f"/proc/{os.getpid()}/fd/{self._directory}/{name}")

    async def receive(self) -> int:
        """The descriptor, ours to close."""
        while (descriptor := self.receive_now()) is None:
            await readable((self._connection or self._listener).fileno())
        return descriptor

    def receive_now(self) -> int | None:
        """The descriptor if it has been sent; None before that."""
        try:
            if self._connection is None:
                self._connection, _ = self._listener.accept()
                self._connection.settimeout(0)
            data, descriptors, _flags, _address = socket.recv_fds(self._connection, 4096, 1)
        except BlockingIOError:
            return None
        if descriptors:
            return descriptors[0]
        if not data:  # it ended without one; there may be another
            self._connection.close()
            self._connection = None
        return None

    def close(self) -> None:
        """Idempotent. A descriptor that was sent and not received is closed with it."""
        self._listener.close()
        if self._connection is not None:
            self._connection.close()
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1
            self._file.unlink(missing_ok=True)
