"""A process's streams on the host: bytes between a descriptor and a stream of the agent's connection.

Descriptors are whatever a monitor or a person gives: pipes, terminals, files, /dev/null. A stream owns its descriptor
and closes it at its end.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from typing import Protocol

from podwright.linux.descriptors import write_all
from podwright.wire import guest_frames as frames


class Wire(Protocol):
    """What a stream needs of the connection."""

    streams: frames.Streams

    def send(self, data: bytes) -> None: ...

    def closed(self, stream: int) -> None: ...


def of_our_own(descriptor: int) -> int:
    """`descriptor`, never blocking. A terminal is opened anew, because others have it as it is."""
    if os.isatty(descriptor):
        again = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.close(descriptor)
        return again
    os.set_blocking(descriptor, False)
    return descriptor


class Output:
    """What the machine sends, written at the pace of whoever reads the descriptor."""

    def __init__(self, wire: Wire, number: int, descriptor: int) -> None:
        self.number = number
        self._wire, self._descriptor = wire, of_our_own(descriptor)
        self._chunks: deque[bytes] = deque()
        self._changed, self._ended, self._busy = asyncio.Event(), False, False
        self.activity = 0
        self.done = asyncio.Event()

    @property
    def idle(self) -> bool:
        """Whether all that came has been passed on."""
        return not self._chunks and not self._busy

    def received(self, data: bytes) -> None:
        self._chunks.append(data)
        self.activity += 1
        self._changed.set()

    def ended(self) -> None:
        """The machine writes no more."""
        self._ended = True
        self._changed.set()

    async def run(self) -> None:
        try:
            while await self._something():
                data = self._chunks.popleft()
                self._busy = True
                if not await write_all(self._descriptor, data):
                    self._wire.send(self._wire.streams.reset(self.number))
                    return
                self._busy = False
                self._wire.send(self._wire.streams.took(self.number, len(data)))
        finally:
            self._busy = False
            self._chunks.clear()
            os.close(self._descriptor)
            self._wire.closed(self.number)
            self.done.set()

    async def _something(self) -> bool:
        while not self._chunks:
            if self._ended:
                return False
            self._changed.clear()
            await self._changed.wait()
        return True


class Input:
    """What can be read from the descriptor, at the pace of the process in the machine."""

    def __init__(self, wire: Wire, number: int, descriptor: int) -> None:
        self.number = number
        self._wire, self._descriptor = wire, of_our_own(descriptor)
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._watching = self._over = False

    def wake(self) -> None:
        """There is credit, something to read, or no reader any more."""
        self._changed.set()

    def end(self) -> None:
        """The process has ended: read no more."""
        self._over = True
        self._changed.set()

    async def run(self) -> None:
        streams = self._wire.streams
        try:
            while not self._over and streams.is_sending(self.number):
                self._changed.clear()
                credit = streams.credit(self.number)
                data = self._read(min(credit, frames.DATA_LIMIT_BYTES)) if credit else None
                if data is None:
                    await self._wait(reading=credit > 0)
                elif not data:
                    return
                else:
                    self._wire.send(streams.send(self.number, data))
        finally:
            self._wire.send(streams.end(self.number))
            self._unwatch()
            os.close(self._descriptor)
            self._wire.closed(self.number)

    def _read(self, count: int) -> bytes | None:
        """None: nothing yet; b"": the end, that of a terminal or a reader that are gone included."""
        try:
            return os.read(self._descriptor, count)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    async def _wait(self, *, reading: bool) -> None:
        if reading:
            self._loop.add_reader(self._descriptor, self.wake)
            self._watching = True
        await self._changed.wait()
        self._unwatch()

    def _unwatch(self) -> None:
        if self._watching:
            self._loop.remove_reader(self._descriptor)
            self._watching = False
