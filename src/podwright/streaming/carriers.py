"""The streams of one exec or attach, whatever carries them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from podwright.base.streams import Reader, Writer
from podwright.streaming.base import Wanted, stream_names
from podwright.streaming.inbox import Inbox
from podwright.streaming.spdy import SpdyConnection, SpdyStream
from podwright.streaming.transport import ByteStream
from podwright.streaming.websocket import Channels, ChannelWriter, WebSocket
from podwright.wire import channels as wire
from podwright.wire.remotecommand import ERROR, RESIZE, STDERR, STDIN, STDOUT, STREAM_TYPE_HEADER, has_resize

WEBSOCKET_PROTOCOLS = (wire.V5, wire.V4, wire.V4_BASE64, wire.V1, wire.V1_BASE64, "")


class Carrier(Protocol):
    """Made with a connection, `run` beside everything else, `opened` before the streams are asked for."""

    protocol: str

    async def run(self) -> None:
        """Read until the peer ends the connection."""
        ...

    async def opened(self) -> None:
        """Wait until all streams are there."""
        ...

    def reader(self, name: str) -> Reader | None:
        """stdin or resize; None: not asked for."""
        ...

    def writer(self, name: str) -> Writer | None:
        """stdout, stderr or error; None: not asked for."""
        ...

    async def finish(self) -> None:
        """Drop what the client still sends, and tell it that nothing more comes."""
        ...


class SpdyCarrier:
    """Implements `Carrier`: a stream each, opened by the client in an order of its own."""

    def __init__(self, transport: ByteStream, protocol: str, wanted: Wanted) -> None:
        self.protocol = protocol
        self._expected = [name for name in stream_names(wanted) if name != RESIZE or has_resize(protocol)]
        self._streams: dict[str, SpdyStream] = {}
        self._complete = asyncio.Event()
        self._connection = SpdyConnection(transport, opened=self._stream_opened)

    async def run(self) -> None:
        await self._connection.run()

    async def opened(self) -> None:
        await self._complete.wait()

    def _stream_opened(self, stream: SpdyStream) -> bool:
        name = stream.headers.get(STREAM_TYPE_HEADER, "")
        if name not in self._expected or name in self._streams:
            return False
        self._streams[name] = stream
        if len(self._streams) == len(self._expected):
            self._complete.set()
        return True

    def reader(self, name: str) -> Reader | None:
        return self._streams.get(name)

    def writer(self, name: str) -> Writer | None:
        return self._streams.get(name)

    async def finish(self) -> None:
        for name, stream in self._streams.items():
            await (stream.reset() if name in (STDIN, RESIZE) else stream.close())


_NUMBERS = {STDIN: wire.STDIN, STDOUT: wire.STDOUT, STDERR: wire.STDERR, ERROR: wire.ERROR, RESIZE: wire.RESIZE}


class WebSocketCarrier:
    """Implements `Carrier`: numbered channels, all there from the start."""

    def __init__(self, socket: WebSocket, protocol: str, wanted: Wanted) -> None:
        self.protocol = protocol
        self._socket = socket
        names = stream_names(wanted)
        self._inboxes: Mapping[str, Inbox] = {name: Inbox() for name in names if name in (STDIN, RESIZE)}
        self._writers: Mapping[str, Writer] = {
            name: ChannelWriter(socket, _NUMBERS[name], protocol) for name in names if name not in self._inboxes
        }
        self._channels = Channels(socket, protocol, {_NUMBERS[name]: inbox for name, inbox in self._inboxes.items()})

    async def run(self) -> None:
        await self._channels.run()

    async def opened(self) -> None:
        # Clients wait for an empty message to know that the connection stands.
        await next(self._writers[name] for name in (STDOUT, STDERR, ERROR) if name in self._writers).write(b"")

    def reader(self, name: str) -> Reader | None:
        return self._inboxes.get(name)

    def writer(self, name: str) -> Writer | None:
        return self._writers.get(name)

    async def finish(self) -> None:
        for inbox in self._inboxes.values():
            inbox.discard()
        await self._socket.close()
