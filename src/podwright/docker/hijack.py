"""Connections to the engine that become the streams of a process: attach and exec.

The engine answers 101, or 200 where it is old, and from then on the connection carries bytes: what the process writes,
in frames of `wire/docker_stream` unless it has a terminal, and what is written to it. Each direction ends by itself:
`end_input` is the end of the process's input, and its output goes on. Docker Engine API v1.41, POST
/containers/{id}/attach, "Hijacking".
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import h11

from podwright.docker.errors import EngineUnavailable, refusal

_READ_BYTES = 64 * 1024
_WRITE_BUFFER_BYTES = 256 * 1024
_ERROR_LIMIT_BYTES = 64 * 1024
_CONNECT_TIMEOUT_S = 60.0


class Hijacked:
    """Bytes both ways, bounded both ways: what isn't read waits in the kernel, a slow process makes `write` wait."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ahead: bytes) -> None:
        self._reader, self._writer, self._ahead = reader, writer, ahead
        writer.transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)

    async def read(self) -> bytes:
        """The next bytes; b"" at the end. Raises ConnectionError when the engine went away."""
        data, self._ahead = self._ahead, b""
        return data or await self._reader.read(_READ_BYTES)

    async def write(self, data: bytes) -> None:
        """Raises ConnectionError when nobody will read it."""
        if self._writer.is_closing():
            raise ConnectionResetError("the connection to the process is closed")
        self._writer.write(data)
        await self._writer.drain()

    def end_input(self) -> None:
        """The process reads no more than what was written; its output goes on. A connection that is gone is success."""
        if not self._writer.is_closing():
            try:
                self._writer.write_eof()
            except OSError:
                return

    def close(self) -> None:
        """End both directions now. Idempotent."""
        self._writer.transport.abort()


async def hijack(socket: Path, target: str, body: bytes) -> Hijacked:
    """POST `body` (JSON or nothing) to `target`, take the connection over. Raises EngineUnavailable, and refusals."""
    try:
        reader, writer = await asyncio.open_unix_connection(str(socket))
    except OSError as error:
        raise EngineUnavailable(f"no Docker Engine answers at {socket}: {error.strerror}; is it running?") from error
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            ahead = await _negotiate(reader, writer, target, body)
        return Hijacked(reader, writer, ahead)
    except TimeoutError as error:
        writer.transport.abort()
        raise EngineUnavailable(f"Docker at {socket}: POST {target}: no answer in {_CONNECT_TIMEOUT_S:g} s") from error
    except (OSError, h11.RemoteProtocolError) as error:
        writer.transport.abort()
        raise EngineUnavailable(f"Docker at {socket}: POST {target}: {error}") from error
    except BaseException:
        writer.transport.abort()
        raise


async def _negotiate(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str, body: bytes) -> bytes:
    """What the engine sent behind its head."""
    wire = h11.Connection(h11.CLIENT)
    headers = [
        ("Host", "docker"), ("Connection", "Upgrade"), ("Upgrade", "tcp"),
        ("Content-Type", "application/json"), ("Content-Length", str(len(body))),
    ]  # fmt: skip
    for part in (h11.Request(method="POST", target=target, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
        writer.write(wire.send(part) or b"")
    await writer.drain()
    status, words = 0, b""
    while True:
        event = wire.next_event()
        if event is h11.NEED_DATA:
            wire.receive_data(await reader.read(_READ_BYTES))
        elif isinstance(event, h11.InformationalResponse) and event.status_code == 101:
            return wire.trailing_data[0]
        elif isinstance(event, h11.Response):
            status = event.status_code
            if status < 400:  # an engine that hijacks without an upgrade
                return wire.trailing_data[0]
        elif isinstance(event, h11.Data) and len(words) < _ERROR_LIMIT_BYTES:
            words += bytes(event.data)
        elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)) or event is h11.PAUSED:
            raise refusal(status, words, f"POST {target}")
