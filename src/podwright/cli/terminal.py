"""Our own terminal and standard streams, as the streams of a process somewhere else."""

from __future__ import annotations

import asyncio
import os
import signal
import termios
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from podwright.base.streams import TerminalSize
from podwright.base.tasks import in_thread
from podwright.linux.process import readable

_BLOCK_BYTES = 64 * 1024


@contextmanager
def raw(fd: int) -> Iterator[None]:
    """While the block runs, keys go through as they are typed: the other side's terminal makes lines and signals of
    them. Does nothing for what is not a terminal."""
    if not os.isatty(fd):
        yield
        return
    saved = termios.tcgetattr(fd)
    tty.setraw(fd, termios.TCSADRAIN)  # and keep what was typed ahead
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, saved)


async def window_sizes(fd: int) -> AsyncIterator[TerminalSize]:
    """The size of our terminal, now and after each change. signal(7), SIGWINCH."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGWINCH, changed.set)
    try:
        while True:
            size = os.get_terminal_size(fd)
            if size.columns > 0 and size.lines > 0:
                yield TerminalSize(size.columns, size.lines)
            await changed.wait()
            changed.clear()
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)


class LocalInput:
    """Implements `base.streams.Reader` for a descriptor of ours: a terminal, a pipe, a file."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    async def read(self) -> bytes:
        try:
            await readable(self._fd)
        except PermissionError:
            pass  # a plain file, which epoll doesn't take and which is always readable, epoll_ctl(2)
        try:
            return os.read(self._fd, _BLOCK_BYTES)
        except OSError:
            return b""  # EIO of a terminal that was hung up, EBADF of one that was never there


class LocalOutput:
    """Implements `base.streams.Writer` for a file of ours. Written in a thread, as a pipe's reader may be slow."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    async def write(self, data: bytes) -> None:
        await in_thread(self._write, data)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()

    async def close(self) -> None:
        return
