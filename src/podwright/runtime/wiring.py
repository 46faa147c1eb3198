"""What connects a process in a container with its client: a pipe for each stream, or a terminal.

Nothing is buffered but what the kernel keeps in a pipe or terminal, so that a slow client makes the process wait,
and a slow process the client.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any, Protocol

from podwright.base.ids import random_suffix
from podwright.base.streams import ProcessStreams, Reader, TerminalSize, Writer
from podwright.linux import tty
from podwright.linux.descriptors import Output, write_all
from podwright.linux.process import empty_input
from podwright.linux.unix_sockets import DescriptorSocket
from podwright.oci.runtime_spec import ConsoleSize

WORDS_LIMIT_BYTES = 64 * 1024

Work = Coroutine[Any, Any, None]


class Wiring(Protocol):
    """Made before the runtime is started, with `options` for its `exec` and what it gets as its standard streams."""

    options: tuple[str, ...]
    stdin: int
    stdout: int
    stderr: int

    def spawned(self) -> None:
        """The runtime has its ends: close ours of them, or no stream ever ends."""
        ...

    async def connect(self) -> None:
        """Wait for what the runtime sends, where it sends something. Safe to cancel."""
        ...

    def connect_now(self) -> None:
        """The runtime has ended: take what it sent, if anything."""
        ...

    def inputs(self) -> Iterator[Work]:
        """What carries the client's bytes and sizes; to be cancelled when the process has ended."""
        ...

    def outputs(self) -> Iterator[Work]:
        """What carries the process's bytes; ends some time after `process_ended`."""
        ...

    def process_ended(self) -> None: ...

    def words(self) -> str:
        """What the runtime said, when the process never ran."""
        ...

    def close(self) -> None:
        """Close all that is ours, which hangs the process up if it runs. Idempotent; no task may use it by then."""
        ...


class Pipes:
    """A pipe for each stream, asked for or not: the runtime's own words come on stderr, and what crun gets as a
    standard stream changes its owner, which the host's /dev/null must not."""

    options: tuple[str, ...] = ()

    def __init__(self, streams: ProcessStreams, drain_s: float) -> None:
        self._streams = streams
        self._open: set[int] = set()
        self.stdin, self._input = self._pipe()
        os.set_blocking(self._input, False)
        read_fd, self.stdout = self._pipe()
        self._error, self.stderr = self._pipe()
        self._outputs: list[tuple[Output, Writer | None]] = [
            (Output(read_fd, drain_s=drain_s), streams.stdout),
            (Output(self._error, drain_s=drain_s), streams.stderr),
        ]

    def _pipe(self) -> tuple[int, int]:
        read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
        return self._keep(read_fd), self._keep(write_fd)

    def _keep(self, fd: int) -> int:
        self._open.add(fd)
        return fd

    def _close(self, fd: int) -> None:
        if fd in self._open:
            self._open.discard(fd)
            os.close(fd)

    def spawned(self) -> None:
        for fd in (self.stdin, self.stdout, self.stderr):
            self._close(fd)
        if self._streams.stdin is None:
            self._close(self._input)

    async def connect(self) -> None:
        """The runtime hands the pipes on."""

    def connect_now(self) -> None:
        """As `connect`."""

    def inputs(self) -> Iterator[Work]:
        if self._streams.stdin is not None:
            yield self._feed(self._streams.stdin)

    async def _feed(self, source: Reader) -> None:
        """A process that reads no more is not the client's end: go on reading, to notice when that comes."""
        taken = True
        while data := await source.read():
            taken = taken and await write_all(self._input, data)
        self._close(self._input)

    def outputs(self) -> Iterator[Work]:
        return (_carry(output, target) for output, target in self._outputs)

    def process_ended(self) -> None:
        for output, _ in self._outputs:
            output.process_ended()

    def words(self) -> str:
        return _read_now(self._error).decode(errors="replace")

    def close(self) -> None:
        for fd in list(self._open):
            self._close(fd)


class Terminal:
    """A pseudoterminal that the runtime makes in the container; it sends the manager's end over a socket.

    This process is then the only holder of that end: when it closes it, or dies, the kernel hangs the process up.
    """

    def __init__(
        self, streams: ProcessStreams, drain_s: float, scratch: Path, *, size: ConsoleSize | None = None
    ) -> None:
        self._streams, self._drain_s, self._size = streams, drain_s, size
        self._console = DescriptorSocket(scratch, f"console-{random_suffix()}")
        self.options: tuple[str, ...] = ("--console-socket", str(self._console.path))
        self.stdin = empty_input()
        self.stdout = self.stderr = os.memfd_create("words")
        self._manager = -1
        self._output: Output | None = None

    def spawned(self) -> None:
        os.close(self.stdin)
        self.stdin = -1

    async def connect(self) -> None:
        self._adopt(await self._console.receive())

    def connect_now(self) -> None:
        if self._manager < 0 and (manager := self._console.receive_now()) is not None:
            self._adopt(manager)

    def _adopt(self, manager: int) -> None:
        self._manager = manager
        if self._size is not None:
            tty.set_size(manager, width=self._size.width, height=self._size.height)
        tty.write_carriage_returns(manager)
        self._output = Output(manager, drain_s=self._drain_s)

    def inputs(self) -> Iterator[Work]:
        if self._manager < 0:
            return
        if self._streams.stdin is not None:
            yield self._feed(self._streams.stdin)
        if self._streams.sizes is not None:
            yield self._resize(self._streams.sizes)

    async def _feed(self, source: Reader) -> None:
        """A terminal has no end of its own: at the client's, a program that reads lines gets the character for it."""
        taken, line_open = True, False
        while data := await source.read():
            taken = taken and await write_all(self._manager, data)
            line_open = not data.endswith((b"\r", b"\n"))
        if taken:
            await write_all(self._manager, tty.end_of_input(self._manager, line_open=line_open))

    async def _resize(self, sizes: AsyncIterator[TerminalSize]) -> None:
        async for size in sizes:
            tty.set_size(self._manager, width=size.width, height=size.height)

    def outputs(self) -> Iterator[Work]:
        if self._output is not None:
            yield _carry(self._output, self._streams.stdout)

    def process_ended(self) -> None:
        if self._output is not None:
            self._output.process_ended()

    def words(self) -> str:
        """crun's child says on the terminal that it can't execute the command, for that is its stderr by then."""
        said = os.pread(self.stderr, WORDS_LIMIT_BYTES, 0)
        return (said or _read_now(self._manager)).decode(errors="replace")

    def close(self) -> None:
        for fd in (self.stdin, self.stderr, self._manager):
            if fd >= 0:
                os.close(fd)
        self.stdin = self.stderr = self._manager = -1
        self._console.close()


def _read_now(fd: int) -> bytes:
    """What is there to read without waiting; nothing of a descriptor that is hung up, or none."""
    try:
        return os.read(fd, WORDS_LIMIT_BYTES) if fd >= 0 else b""
    except OSError:
        return b""


async def _carry(output: Output, target: Writer | None) -> None:
    """From the process to the client, its end too; without a target it is read and thrown away."""
    while data := await output.read():
        if target is not None:
            await target.write(data)
        await asyncio.sleep(0)  # neither side has to wait for the other: let others have their turn
    if target is not None:
        await target.close()
