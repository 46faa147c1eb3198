"""A client at the streams of a process: what it types, what it has read, and how it goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from podwright.base.streams import TerminalSize


class Keyboard:
    """A Reader: what `type` puts in, the end after `close`, ConnectionError after `break_off`."""

    def __init__(self, *typed: bytes, closed: bool = False) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._end = False
        self.taken = 0
        for data in typed:
            self.type(data)
        if closed:
            self.close()

    def type(self, data: bytes) -> None:
        self._queue.put_nowait(data)

    def close(self) -> None:
        self._queue.put_nowait(b"")

    def break_off(self) -> None:
        self._queue.put_nowait(None)

    async def read(self) -> bytes:
        data = b"" if self._end else await self._queue.get()
        if data is None:
            raise ConnectionResetError("the client went away")
        self._end = not data
        self.taken += len(data)
        return data


class Screen:
    """A Writer that keeps what comes; after `freeze` it takes nothing until `thaw`, after `break_off` it breaks."""

    def __init__(self) -> None:
        self._text = bytearray()
        self.closed = False
        self._broken = False
        self._open = asyncio.Event()
        self._open.set()
        self._changed = asyncio.Event()
        self._offered = asyncio.Event()

    @property
    def text(self) -> bytes:
        return bytes(self._text)

    def freeze(self) -> None:
        self._open.clear()

    def thaw(self) -> None:
        self._open.set()

    def break_off(self) -> None:
        self._broken = True
        self._open.set()

    async def write(self, data: bytes) -> None:
        assert not self.closed
        self._offered.set()
        await self._open.wait()
        if self._broken:
            raise BrokenPipeError("the client went away")
        self._text += data
        self._changed.set()

    async def close(self) -> None:
        self.closed = True
        self._changed.set()

    async def is_offered_something(self, *, timeout_s: float = 20) -> None:
        """Wait until somebody writes, frozen or not."""
        async with asyncio.timeout(timeout_s):
            await self._offered.wait()

    async def shows(self, words: bytes, *, timeout_s: float = 20) -> None:
        """Wait until `words` have come."""
        try:
            async with asyncio.timeout(timeout_s):
                while words not in self._text:
                    assert not self.closed, f"it ended with {self.text!r}"
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"{words!r} did not come: {self.text[-2000:]!r}") from None


class Window:
    """The sizes of the client's window."""

    def __init__(self) -> None:
        self._sizes: asyncio.Queue[TerminalSize] = asyncio.Queue()

    def resize(self, width: int, height: int) -> None:
        self._sizes.put_nowait(TerminalSize(width, height))

    async def __aiter__(self) -> AsyncIterator[TerminalSize]:
        while True:
            yield await self._sizes.get()
