"""Pipes and terminals in the event loop: reads and writes that wait for a descriptor, never for a process.

The descriptors are ours and non-blocking; whoever opened one closes it, after the tasks that use it have ended.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import struct
import termios

CHUNK_BYTES = 64 * 1024


class Output:
    """What a process writes, in the pace of whoever reads it here: who doesn't read lets the process wait.

    The end is that of the last holder of the other end, or comes `drain_s` after `process_ended`, because a child
    left in the background may hold it for ever. What the process itself had written is read in any case.
    """

    def __init__(self, fd: int, *, drain_s: float) -> None:
        os.set_blocking(fd, False)
        self._fd, self._drain_s = fd, drain_s
        self._loop = asyncio.get_running_loop()
        self._deadline: float | None = None
        self._owed = 0
        self._waiting: asyncio.Future[None] | None = None

    def process_ended(self) -> None:
        self._owed = unread_bytes(self._fd)
        self._deadline = self._loop.time() + self._drain_s
        self._wake()

    async def read(self) -> bytes:
        """The next bytes; b"" at the end."""
        while True:
            late = self._deadline is not None and self._loop.time() >= self._deadline
            if late and self._owed <= 0:
                return b""
            try:
                data = os.read(self._fd, CHUNK_BYTES)
            except BlockingIOError:
                if late:
                    return b""
                await self._readable()
            except OSError as error:
                if error.errno == errno.EIO:  # a terminal that nobody holds any more
                    return b""
                raise
            else:
                self._owed -= len(data)
                return data

    async def _readable(self) -> None:
        """Wait for data, the end of the process, or the end of the time after it."""
        self._waiting = self._loop.create_future()
        self._loop.add_reader(self._fd, self._wake)
        timer = self._loop.call_at(self._deadline, self._wake) if self._deadline is not None else None
        try:
            await self._waiting
        finally:
            self._loop.remove_reader(self._fd)
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


async def write_all(fd: int, data: bytes) -> bool:
    """Write everything, waiting for room; False when nobody can read it any more."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:
            await writable(fd)
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.EIO):
                return False
            raise
    return True


async def writable(fd: int) -> None:
    """Wait until `fd` polls writable."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_writer(fd, wake)
    try:
        await ready
    finally:
        loop.remove_writer(fd)


def unread_bytes(fd: int) -> int:
    """How much can be read from a pipe, fifo, socket or terminal now. FIONREAD, ioctl_tty(2), pipe(7)."""
    (count,) = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4))
    return int(count)
