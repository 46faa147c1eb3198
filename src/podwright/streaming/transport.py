"""One TCP connection (or TLS on it): bounded both ways, and ended when nothing moves for too long."""

from __future__ import annotations

import asyncio
from typing import Protocol

_READ_BYTES = 64 * 1024
_WRITE_BUFFER_BYTES = 256 * 1024
_CLOSE_TIMEOUT_S = 5.0


class ByteStream(Protocol):
    """What SPDY runs on: a TCP connection, or a tunnel through WebSocket."""

    async def read(self) -> bytes:
        """The next bytes; b"" when the peer has ended. Raises ConnectionError when it went away."""
        ...

    async def write(self, data: bytes) -> None:
        """Hand over all of `data` at once, then wait for room. Raises ConnectionError."""
        ...


class Transport:
    """Implements `ByteStream`. A slow peer makes `write` wait, and what isn't read waits in the kernel."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, idle_timeout_s: float) -> None:
        self._reader, self._writer = reader, writer
        self._ahead = b""
        self._loop = asyncio.get_running_loop()
        self._idle_timeout_s = idle_timeout_s
        self._last_moved = self._loop.time()
        self._watch = self._loop.call_later(idle_timeout_s, self._check_idle)
        writer.transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)

    async def read(self) -> bytes:
        data, self._ahead = self._ahead, b""
        if not data:
            try:
                data = await self._reader.read(_READ_BYTES)
            except OSError as error:
                raise ConnectionResetError(str(error)) from error
            self._last_moved = self._loop.time()
        return data

    def unread(self, data: bytes) -> None:
        """Let the next `read` give `data`: what came after an HTTP head already belongs to the next protocol."""
        self._ahead = data

    async def write(self, data: bytes) -> None:
        if self._writer.is_closing():
            raise ConnectionResetError("the connection is closed")
        self._writer.write(data)
        try:
            await self._writer.drain()
        except OSError as error:
            raise ConnectionResetError(str(error)) from error
        self._last_moved = self._loop.time()

    async def close(self) -> None:
        """End the connection; what is still to be sent gets a moment to be."""
        self._watch.cancel()
        self._writer.close()
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            pass  # the peer is gone, or doesn't read
        finally:
            self.abort()

    def abort(self) -> None:
        """End the connection now."""
        self._watch.cancel()
        self._writer.transport.abort()

    def _check_idle(self) -> None:
        rest = self._last_moved + self._idle_timeout_s - self._loop.time()
        if rest <= 0:
            self._writer.transport.abort()
        else:
            self._watch = self._loop.call_later(rest, self._check_idle)
