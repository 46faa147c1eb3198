"""What is typed at a container: into the fifo from which the shim feeds its standard input.

A shim opens its end in the background: when it says that a process is created or started, it may not have come to it
yet, and a fifo that nobody reads takes no writer that doesn't wait. So the first writer does wait, in a thread.
fifo(7), open(2).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from podwright.base.errors import FailedPrecondition, NotFound
from podwright.base.tasks import shielded
from podwright.linux.descriptors import write_all
from podwright.ttrpc.errors import ConnectionLost


class Input:
    """One writer of a fifo that a shim reads; there may be others. Owns `fd`.

    `let_go`: has the shim close its own hold of the fifo, without which the input does not end.
    """

    def __init__(self, fd: int, let_go: Callable[[], Awaitable[None]]) -> None:
        self._fd, self._let_go = fd, let_go

    async def send(self, data: bytes) -> None:
        """Returns when it is taken; what nobody can read any more is thrown away."""
        if self._fd >= 0:
            await write_all(self._fd, data)

    async def end_input(self) -> None:
        """There will be no more. Idempotent."""
        if self._fd >= 0:
            self.close()
            await shielded(self._ended(), name="end input in shim")

    async def _ended(self) -> None:
        try:
            await self._let_go()
        except (ConnectionLost, NotFound, FailedPrecondition):
            return  # the process has ended, and its input with it

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def open_read(path: Path) -> int:
    """A fifo that a shim reads already. Raises FailedPrecondition when it does no more."""
    try:
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise FailedPrecondition(f"the container takes no input any more: {error.strerror}") from error


async def await_reader(path: Path) -> int:
    """The same, for a fifo that the shim is about to open. A caller that is cancelled waits no longer."""
    opening = asyncio.get_running_loop().run_in_executor(None, os.open, path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        fd = await asyncio.shield(opening)
    except asyncio.CancelledError:
        await shielded(_give_up(path, opening), name="stop waiting for a reader")
        raise
    os.set_blocking(fd, False)
    return fd


async def _give_up(path: Path, opening: asyncio.Future[int]) -> None:
    """A reader of ours lets the thread go."""
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.close(await opening)
    finally:
        os.close(reader)
