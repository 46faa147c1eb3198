"""A container's output: from the shim's fifos to its log file, and to whoever is attached.

The shim holds both ends of each fifo, so that a container whose daemon is gone writes on until the fifo is full (64
KiB), and then waits; the next daemon opens the fifos again and reads on. What was read is written in the same turn of
the event loop, as whole lines (`wire/cri_log.format_output`): a daemon that dies tears no line, and an unfinished one
goes on in the next. Only when a container ends while there is no daemon is what stood in its fifos lost.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from pathlib import Path

from podwright.base.log import get_logger
from podwright.monitor.attach import Client
from podwright.monitor.log_file import create_log
from podwright.wire.cri_log import format_output

log = get_logger(__name__)

STDOUT, STDERR = 2, 3
"""The streams' numbers, as `monitor.attach` has them."""

_NAMES = {STDOUT: "stdout", STDERR: "stderr"}
_CHUNK_BYTES = 64 * 1024


class LogFile:
    """Appends to the file at `path`, from the first `reopen` on; None: throws away. Begins it afresh where it would
    exceed `limit_bytes` (0: no limit), as conmon does."""

    def __init__(self, path: Path | None, *, limit_bytes: int = 0) -> None:
        self._path, self._limit = path, limit_bytes
        self._fd = -1
        self._failed = False

    def reopen(self) -> None:
        """Go on in the file that is at the path now; made where there is none. Raises what `create_log` does."""
        if self._path is None:
            return
        create_log(self._path)
        flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(self._path, flags)
        self.close()
        self._fd = fd

    def write(self, lines: bytes) -> None:
        """A full disk costs lines, and stops no container; it is logged once."""
        try:
            for line in _whole_lines(lines) if self._limit else [lines]:
                self._write(line)
            self._failed = False
        except OSError as error:
            if not self._failed:
                log.error("a container's log can't be written", path=str(self._path), error=error.strerror)
            self._failed = True

    def _write(self, data: bytes) -> None:
        if self._limit and self._fd >= 0 and os.fstat(self._fd).st_size + len(data) > self._limit:
            os.ftruncate(self._fd, 0)
        view = memoryview(data)
        while view and self._fd >= 0:
            view = view[os.write(self._fd, view) :]

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _whole_lines(text: bytes) -> list[bytes]:
    """Not at carriage returns, as `splitlines` does."""
    return [line + b"\n" for line in text.removesuffix(b"\n").split(b"\n")]


class Output:
    """One container's output. Reads from the first moment on until every stream has ended, or `close`.

    `resumed`: the shim has opened the fifos before, and may have left them.
    """

    def __init__(self, fifos: Mapping[int, Path], log_file: LogFile, *, resumed: bool = False) -> None:
        self._log_file = log_file
        self._loop = asyncio.get_running_loop()
        self._open: dict[int, int] = {}
        self._ended = asyncio.Event()
        self._clients: set[Client] = set()
        for stream, path in fifos.items():
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            self._open[fd] = stream
            # Polls readable when there is output, or when the last writer has gone; not before the first has come.
            self._loop.add_reader(fd, self._readable, fd)
            if resumed:  # the last writer may have gone already: then this one is the last that is seen to go
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        if not self._open:
            self._ended.set()

    def _readable(self, fd: int) -> None:
        try:
            data = os.read(fd, _CHUNK_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._end(fd)
            return
        stream = self._open[fd]
        self._log_file.write(format_output(data, _NAMES[stream], time.time_ns()))
        for client in self._clients:
            client.put(stream, data)

    def _end(self, fd: int) -> None:
        self._loop.remove_reader(fd)
        os.close(fd)
        del self._open[fd]
        if not self._open:
            self._log_file.close()
            self._ended.set()
            for client in self._clients:
                client.end()

    def join(self, client: Client) -> None:
        """Give a client what comes from now on."""
        self._clients.add(client)
        if self._ended.is_set():
            client.end()

    def leave(self, client: Client) -> None:
        self._clients.discard(client)

    async def ended(self) -> None:
        """Return when all output has been read: nobody holds the streams any more."""
        await self._ended.wait()

    def reopen(self) -> None:
        """See `LogFile.reopen`."""
        self._log_file.reopen()

    def close(self) -> None:
        """Read what is there, then stop; who is attached sees the end. Idempotent."""
        for fd in list(self._open):
            self._readable(fd)
            if fd in self._open:
                self._end(fd)
        self._log_file.close()
