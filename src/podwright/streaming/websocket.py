"""WebSocket on a transport: messages in pieces as they arrive, and the two things that are made of messages here:
numbered channels, and a tunnel for SPDY."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from wsproto import connection as wire
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError

from podwright.base.log import get_logger
from podwright.streaming.inbox import Inbox
from podwright.streaming.transport import Transport
from podwright.wire.channels import BadMessage, ChannelData, ChannelReader, encode, is_text

log = get_logger(__name__)

# client-go gives a server up from which no pong has come for a minute; a pong that nobody asked for is allowed
# (RFC 6455, section 5.5.3) and counts.
_PONG_PERIOD_S = 10.0


class WebSocket:
    """One connection after its handshake."""

    def __init__(self, transport: Transport, connection: wire.Connection) -> None:
        self._transport, self._wire = transport, connection

    async def pieces(self) -> AsyncIterator[tuple[bytes, bool]]:
        """Pieces of messages, and whether each is its message's last; ends with the peer's close or the connection."""
        while True:
            for event in self._wire.events():
                if isinstance(event, BytesMessage):
                    yield bytes(event.data), event.message_finished
                elif isinstance(event, TextMessage):
                    yield event.data.encode(), event.message_finished
                elif isinstance(event, Ping):
                    await self._write(event.response())
                elif isinstance(event, CloseConnection):
                    await self.close(event.code)
                    return
            data = await self._transport.read()
            if not data:
                return
            self._wire.receive_data(data)

    async def send(self, message: bytes, *, text: bool = False) -> None:
        """Send one message. Raises ConnectionError."""
        await self._write(TextMessage(data=message.decode("ascii")) if text else BytesMessage(data=message))

    async def pong(self) -> None:
        """Show that we live while we don't read."""
        await self._write(Pong())

    async def close(self, code: int = CloseReason.NORMAL_CLOSURE) -> None:
        """Say that nothing more comes, or answer that; idempotent, and a peer that is gone is success."""
        if code == CloseReason.NO_STATUS_RCVD or not 1000 <= code < 5000:
            code = CloseReason.NORMAL_CLOSURE
        try:
            await self._write(CloseConnection(code=code))
        except ConnectionError:
            pass  # it has been closed, or whom it was meant for is gone

    async def _write(self, event: BytesMessage | TextMessage | Pong | CloseConnection) -> None:
        try:
            data = self._wire.send(event)
        except LocalProtocolError as error:
            raise ConnectionResetError("the WebSocket is closed") from error
        await self._transport.write(data)


class Tunnel:
    """Implements `transport.ByteStream`: the bytes of another protocol as binary messages of any size."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket, self._pieces = socket, socket.pieces()

    async def read(self) -> bytes:
        async for piece, _last in self._pieces:
            if piece:
                return piece
        return b""

    async def write(self, data: bytes) -> None:
        await self._socket.send(data)


class ChannelWriter:
    """Implements `base.streams.Writer`. Channels that we write to have no end of their own: the connection has."""

    def __init__(self, socket: WebSocket, channel: int, protocol: str) -> None:
        self._socket, self._channel, self._protocol = socket, channel, protocol

    async def write(self, data: bytes) -> None:
        """Send `data` as one message; an empty one is sent too, as clients wait for one to know that we are there."""
        await self._socket.send(encode(self._channel, data, self._protocol), text=is_text(self._protocol))

    async def close(self) -> None:
        return


class Channels:
    """Puts what comes on a connection's channels into their inboxes; other channels are dropped."""

    def __init__(self, socket: WebSocket, protocol: str, inboxes: Mapping[int, Inbox]) -> None:
        self._socket, self._inboxes = socket, inboxes
        self._reader = ChannelReader(protocol)

    async def run(self) -> None:
        """Read until the peer ends the connection or breaks the protocol."""
        why = "the connection has ended"
        try:
            async for piece, last in self._socket.pieces():
                for event in self._reader.feed(piece, last=last):
                    inbox = self._inboxes.get(event.channel)
                    if inbox is None:
                        continue
                    if isinstance(event, ChannelData):
                        inbox.put(event.data)
                        await self._wait_for_room(inbox)
                    else:
                        inbox.end()
        except ConnectionError as error:
            why = f"the connection is lost: {error}"
        except BadMessage as error:
            why = f"the peer broke the protocol: {error}"
            log.info("ending a WebSocket connection", error=str(error))
            await self._socket.close(CloseReason.PROTOCOL_ERROR)
        finally:
            for inbox in self._inboxes.values():
                inbox.fail(why)

    async def _wait_for_room(self, inbox: Inbox) -> None:
        while inbox.full:
            try:
                async with asyncio.timeout(_PONG_PERIOD_S):
                    await inbox.room()
            except TimeoutError:
                await self._socket.pong()
