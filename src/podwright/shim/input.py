"""What is typed at a container: into the fifo from which the shim feeds its standard input."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from podwright.base.errors import FailedPrecondition, NotFound
from podwright.base.tasks import shielded
from podwright.linux.descriptors import write_all
from podwright.ttrpc.errors import ConnectionLost


class Input:
    """One writer of the fifo; there may be others. Raises FailedPrecondition when no shim reads it.

    `let_go`: has the shim close its own hold of the fifo, without which the input does not end.
    """

    def __init__(self, path: Path, let_go: Callable[[], Awaitable[None]]) -> None:
        self._let_go = let_go
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise FailedPrecondition(f"the container takes no input any more: {error.strerror}") from error

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
