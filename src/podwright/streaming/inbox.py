"""What has arrived on one stream and is not yet read: bounded, so that a slow reader stops the connection."""

from __future__ import annotations

import asyncio
from collections import deque

LIMIT_BYTES = 256 * 1024


class Inbox:
    """Implements `base.streams.Reader`, for one reader and one that puts in."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._ended = self._discarding = False
        self._lost = ""
        self._readable, self._room = asyncio.Event(), asyncio.Event()

    def put(self, data: bytes) -> None:
        """Take `data` in, whatever the limit; whoever puts waits for `room` before it puts more."""
        if self._discarding or self._ended or self._lost or not data:
            return
        self._chunks.append(data)
        self._size += len(data)
        if self._size > LIMIT_BYTES:
            self._room.clear()
        else:
            self._room.set()
        self._readable.set()

    async def room(self) -> None:
        """Wait until less than the limit is held, or nobody will read it."""
        if self._size > LIMIT_BYTES:
            await self._room.wait()

    @property
    def full(self) -> bool:
        """Whether `room` would wait."""
        return self._size > LIMIT_BYTES

    def end(self) -> None:
        """The sender said that this was all."""
        self._ended = True
        self._readable.set()

    def fail(self, why: str) -> None:
        """The sender went away; after an `end` that changes nothing."""
        self._lost = self._lost or why
        self._readable.set()
        self._room.set()

    def discard(self) -> None:
        """Nobody reads any more: drop what is here and what comes."""
        self._discarding = True
        self._take()
        self._readable.set()

    async def read(self) -> bytes:
        """All that is here, b"" at the end. Raises ConnectionError when the sender went away without an end."""
        while not self._chunks:
            if self._ended or self._discarding:
                return b""
            if self._lost:
                raise ConnectionResetError(self._lost)
            self._readable.clear()
            await self._readable.wait()
        return self._take()

    def _take(self) -> bytes:
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        self._room.set()
        return data
