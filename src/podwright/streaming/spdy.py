"""SPDY on a byte stream: each of its streams is a Reader and a Writer.

Nobody has a window (see `wire.spdy`), so a stream whose reader is slow stops the whole connection, once it holds
`inbox.LIMIT_BYTES`. That is what peers do; the other choice would be memory without a bound.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from podwright.base.log import get_logger
from podwright.streaming.inbox import Inbox
from podwright.streaming.transport import ByteStream
from podwright.wire import spdy
from podwright.wire.spdy import Status

log = get_logger(__name__)

_PROTOCOL_ERROR = 1


class SpdyStream:
    """Implements `base.streams.Reader` and `Writer`. `when_gone` is called when the peer resets it or goes away."""

    def __init__(self, connection: SpdyConnection, stream_id: int, headers: Mapping[str, str]) -> None:
        self._connection, self.id, self.headers = connection, stream_id, headers
        self.inbox = Inbox()
        self.accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.when_gone: Callable[[], object] = lambda: None

    async def read(self) -> bytes:
        return await self.inbox.read()

    async def write(self, data: bytes) -> None:
        if data:
            await self._connection.send(self.id, data)

    async def close(self) -> None:
        await self._connection.finish(self.id)

    async def reset(self, status: Status = Status.CANCEL) -> None:
        """Give it up both ways; what comes is dropped. A peer that is gone is success."""
        self.inbox.discard()
        await self._connection.reset(self.id, status)

    def gone(self, why: str) -> None:
        """The peer has reset the stream, or went away."""
        self.inbox.fail(why)
        if not self.accepted.done():
            self.accepted.cancel()
        self.when_gone()


def refuse_all(_stream: SpdyStream) -> bool:
    """Streams that the peer opens are not wanted: for clients."""
    return False


class SpdyConnection:
    """One connection. `opened` decides on each stream that the peer opens; True accepts it."""

    def __init__(
        self, transport: ByteStream, *, client: bool = False, opened: Callable[[SpdyStream], bool] = refuse_all
    ) -> None:
        self._transport, self._opened = transport, opened
        self._wire = spdy.Connection(client=client)
        self._streams: dict[int, SpdyStream] = {}
        self._lost = False
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Read until the peer ends the connection or breaks the protocol."""
        why = "the connection has ended"
        try:
            while data := await self._transport.read():
                for event in self._wire.receive_data(data):
                    await self._handle(event)
                await self._flush()
        except ConnectionError as error:
            why = f"the connection is lost: {error}"
        except spdy.SpdyError as error:
            why = f"the peer broke the protocol: {error}"
            log.info("ending a SPDY connection", error=str(error))
            await self._say_goodbye()
        finally:
            self._lost = True
            streams, self._streams = self._streams, {}
            for stream in streams.values():
                stream.gone(why)
            self._ended.set()

    async def ended(self) -> None:
        """Wait until the connection has ended."""
        await self._ended.wait()

    async def open(self, headers: Mapping[str, str]) -> SpdyStream:
        """Open a stream, and wait until the peer has accepted it. Raises ConnectionError when it refuses."""
        self._require()
        stream_id = self._wire.open_stream(headers)
        stream = self._streams[stream_id] = SpdyStream(self, stream_id, headers)
        await self._flush()
        # Cancelled by `gone`, which may be called while somebody cancels us: the two must stay apart.
        await asyncio.wait([stream.accepted])
        if stream.accepted.cancelled():
            raise ConnectionRefusedError(f"the peer refused the stream {dict(headers)}")
        return stream

    async def send(self, stream_id: int, data: bytes) -> None:
        """Raises ConnectionError when the stream or the connection is gone."""
        self._require()
        self._wire.send_data(stream_id, data)
        await self._flush()

    async def finish(self, stream_id: int) -> None:
        """End our half of a stream; idempotent."""
        if not self._lost and self._wire.can_send(stream_id):
            self._wire.send_data(stream_id, b"", fin=True)
            self._forget_if_closed(stream_id)
            await self._quietly_flush()

    async def reset(self, stream_id: int, status: Status) -> None:
        """Reset a stream; idempotent."""
        if not self._lost:
            self._wire.reset(stream_id, status)
            self._streams.pop(stream_id, None)
            await self._quietly_flush()

    async def _handle(self, event: spdy.Event) -> None:
        if isinstance(event, spdy.StreamOpened):
            await self._stream_opened(event)
            return
        if isinstance(event, spdy.GoneAway):
            return  # the end of the connection follows, or the end of the streams that are left
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        if isinstance(event, spdy.DataReceived):
            stream.inbox.put(event.data)
            if stream.inbox.full:
                await self._flush()  # replies to what came before the data
                await stream.inbox.room()
        elif isinstance(event, spdy.StreamEnded):
            stream.inbox.end()
            self._forget_if_closed(event.stream_id)
        elif isinstance(event, spdy.ReplyReceived):
            if not stream.accepted.done():
                stream.accepted.set_result(None)
        else:
            del self._streams[event.stream_id]
            stream.gone("the peer has reset the stream")

    async def _stream_opened(self, event: spdy.StreamOpened) -> None:
        stream = SpdyStream(self, event.stream_id, event.headers)
        if self._opened(stream):
            self._streams[event.stream_id] = stream
            self._wire.accept(event.stream_id)
        else:
            self._wire.reset(event.stream_id, Status.REFUSED_STREAM)
        await self._flush()

    def _forget_if_closed(self, stream_id: int) -> None:
        if stream_id not in self._wire:
            self._streams.pop(stream_id, None)

    def _require(self) -> None:
        if self._lost:
            raise ConnectionResetError("the connection has ended")

    async def _flush(self) -> None:
        if data := self._wire.data_to_send():
            await self._transport.write(data)

    async def _quietly_flush(self) -> None:
        try:
            await self._flush()
        except ConnectionError:
            pass  # whom it was meant for is gone

    async def _say_goodbye(self) -> None:
        self._wire.go_away(_PROTOCOL_ERROR)
        await self._quietly_flush()
