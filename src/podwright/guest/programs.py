"""A program of a container: its first process or an exec, with the streams that the host asked for."""

from __future__ import annotations

import os
from typing import Self

from podwright.guest.failures import EXISTS, INVALID, Failure
from podwright.guest.fields import Object, get
from podwright.guest.launch import Launched
from podwright.guest.loop import Loop
from podwright.guest.port import Port
from podwright.guest.pumps import Input, Output
from podwright.linux.tty import set_size

_STREAMS = ("stdin", "stdout", "stderr")


class Pumps:
    """Every open stream of the machine by its number, so that what the host sends finds its way."""

    def __init__(self) -> None:
        self._pumps: dict[int, Input | Output] = {}

    def add(self, pump: Input | Output) -> None:
        self._pumps[pump.stream] = pump

    def remove(self, stream: int) -> None:
        self._pumps.pop(stream, None)

    def input(self, stream: int) -> Input | None:
        """The pump of a stream that the host writes on."""
        pump = self._pumps.get(stream)
        return pump if isinstance(pump, Input) else None

    def output(self, stream: int) -> Output | None:
        """The pump of a stream that the host reads."""
        pump = self._pumps.get(stream)
        return pump if isinstance(pump, Output) else None

    def has(self, stream: int) -> bool:
        """Whether the number is taken."""
        return stream in self._pumps


class Stdio:
    """The descriptors of one program, from before it is started until its streams are over.

    `theirs` are what the child shall have as 0, 1 and 2; `with` closes them here. `connect` comes when the child is
    there, `close` when it won't be.
    """

    def __init__(self, loop: Loop, port: Port, pumps: Pumps, request: Object, *, terminal: bool) -> None:
        self._loop, self._port, self._pumps = loop, port, pumps
        self._streams = _numbers(get(request, "streams", dict, {}), pumps, terminal=terminal)
        self._size = _size(get(request, "size", dict, {}))
        self._terminal_fd = -1
        self._ours: dict[str, int] = {}
        self._outputs: list[Output] = []
        self._inputs: list[Input] = []
        self.theirs: list[int] = []
        if not terminal:
            self._pipes()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self.theirs:
            os.close(fd)
        self.theirs = []

    def _pipes(self) -> None:
        for name in _STREAMS:
            if name not in self._streams:
                self.theirs.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
                continue
            reader, writer = os.pipe2(os.O_CLOEXEC)
            ours, theirs = (writer, reader) if name == "stdin" else (reader, writer)
            os.set_blocking(ours, False)
            self._ours[name] = ours
            self.theirs.append(theirs)

    def connect(self, terminal: int) -> None:
        """Begin to carry bytes. `terminal` is the master, -1 without one."""
        if terminal >= 0:
            self._terminal_fd = terminal
            os.set_blocking(terminal, False)
            if self._size:
                self.resize(*self._size)
            for name in self._streams:
                self._ours[name] = os.dup(terminal)
        for name, fd in self._ours.items():
            stream = self._streams[name]
            if name == "stdin":
                source = Input(self._loop, self._port, stream, fd, self._pumps.remove, terminal=terminal >= 0)
                self._inputs.append(source)
                self._pumps.add(source)
            else:
                sink = Output(self._loop, self._port, stream, fd, self._pumps.remove)
                self._outputs.append(sink)
                self._pumps.add(sink)
        self._ours = {}

    def resize(self, width: int, height: int) -> bool:
        """In characters; False without a terminal."""
        if self._terminal_fd < 0:
            return False
        set_size(self._terminal_fd, width=width, height=height)
        return True

    def drain(self) -> None:
        """The program has ended: pass on what it wrote; nobody reads what is still written to it."""
        for output in self._outputs:
            output.drain()
        for source in self._inputs:
            source.close()
        if self._terminal_fd >= 0:
            os.close(self._terminal_fd)
            self._terminal_fd = -1

    def close(self) -> None:
        """The program was not started, or all of it is over."""
        for fd in self._ours.values():
            os.close(fd)
        self._ours = {}
        for output in self._outputs:
            output.close()
        self.drain()


class Program:
    """A process that has been made. `go` lets it begin; `told`: the host knows of its end."""

    def __init__(self, launched: Launched, stdio: Stdio) -> None:
        self.pid, self.end, self.go = launched.pid, launched.end, launched.socket
        self.stdio = stdio
        self.told = False

    @property
    def ended(self) -> bool:
        """Whether it has been reaped: its pid may be another's now."""
        return self.end.done

    def signal(self, number: int) -> bool:
        """Send a signal; False when it has ended."""
        if self.ended:
            return False
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True


def _numbers(streams: Object, pumps: Pumps, *, terminal: bool) -> dict[str, int]:
    found = {name: get(streams, name, int, within="streams.") for name in _STREAMS if streams.get(name) is not None}
    for name, number in found.items():
        if terminal and name == "stderr":
            raise Failure(INVALID, "streams.stderr: a terminal has none, its output is stdout's")
        if not 0 < number < 1 << 32 or list(found.values()).count(number) > 1:
            raise Failure(INVALID, f"streams.{name}: {number} is no number of a new stream")
        if pumps.has(number):
            raise Failure(EXISTS, f"streams.{name}: {number} is open")
    return found


def _size(size: Object) -> tuple[int, int] | None:
    return (get(size, "width", int, within="size."), get(size, "height", int, within="size.")) if size else None
