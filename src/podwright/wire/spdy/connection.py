"""One SPDY connection, either role: bytes in, events of streams out, and the bytes to send.

A stream has two halves that end apart:

              SYN_STREAM                  DATA+FIN from one side          DATA+FIN from the other
    (none) ──────────────▶ open, open ───────────────────────▶ half-closed ───────────────────────▶ (none)
                               └──────────────────── RST_STREAM from either side ──────────────────────▲

What arrives for a stream that is not there is dropped: its sender had not yet read our RST_STREAM.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from podwright.wire.spdy.frames import (
    FIN,
    MAX_DATA_BYTES,
    UNIDIRECTIONAL,
    ControlFrame,
    DataPiece,
    FrameReader,
    FrameType,
    SpdyError,
    Status,
    control,
    data_frame,
    numbers,
    pack,
)
from podwright.wire.spdy.headers import HeaderCompressor, HeaderDecompressor

# A port-forward has two streams a forwarded connection.
STREAM_LIMIT = 1024


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The peer opened a stream: `accept` or `reset` it."""

    stream_id: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ReplyReceived:
    """The peer accepted the stream we opened."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class DataReceived:
    """Bytes, never none."""

    stream_id: int
    data: bytes


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The peer sends nothing more on this stream; it may still read."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class StreamReset:
    """The peer gave the stream up, both ways."""

    stream_id: int
    status: int


@dataclass(frozen=True, slots=True)
class GoneAway:
    """The peer opens and accepts no more streams."""


Event = StreamOpened | ReplyReceived | DataReceived | StreamEnded | StreamReset | GoneAway


@dataclass(slots=True)
class _Halves:
    ours_open: bool = True
    theirs_open: bool = True


class Connection:
    """Feed it with `receive_data`, ask it to send, and write what `data_to_send` gives."""

    def __init__(self, *, client: bool) -> None:
        self._parity = 1 if client else 0
        self._next_id = 1 if client else 2
        self._last_peer_id = 0
        self._streams: dict[int, _Halves] = {}
        self._frames = FrameReader()
        self._compressor, self._decompressor = HeaderCompressor(), HeaderDecompressor()
        self._out: list[bytes] = []

    def __len__(self) -> int:
        """How many streams have a half that is open."""
        return len(self._streams)

    def __contains__(self, stream_id: int) -> bool:
        """Whether one of the stream's halves is open."""
        return stream_id in self._streams

    def receive_data(self, data: bytes) -> Iterator[Event]:
        """What `data` tells, to be consumed to its end. Raises SpdyError, after which only `go_away` makes sense."""
        for frame in self._frames.feed(data):
            yield from self._data(frame) if isinstance(frame, DataPiece) else self._control(frame)

    def data_to_send(self) -> bytes:
        """What is to be written now; given once."""
        out, self._out = b"".join(self._out), []
        return out

    def open_stream(self, headers: Mapping[str, str]) -> int:
        """Open a stream; wait for its ReplyReceived before sending on it."""
        stream_id, self._next_id = self._next_id, self._next_id + 2
        self._streams[stream_id] = _Halves()
        block = pack(stream_id, 0) + b"\0\0" + self._compressor.compress(headers)
        self._out.append(control(FrameType.SYN_STREAM, 0, block))
        return stream_id

    def accept(self, stream_id: int) -> None:
        """Accept a stream that the peer opened."""
        if stream_id in self._streams:
            self._out.append(control(FrameType.SYN_REPLY, 0, pack(stream_id) + self._compressor.compress({})))

    def can_send(self, stream_id: int) -> bool:
        """Whether our half of the stream is open."""
        halves = self._streams.get(stream_id)
        return halves is not None and halves.ours_open

    def send_data(self, stream_id: int, data: bytes, *, fin: bool = False) -> None:
        """Send bytes, and with `fin` the end. Raises ConnectionError when the stream's half is not open."""
        halves = self._streams.get(stream_id)
        if halves is None or not halves.ours_open:
            raise ConnectionResetError(f"stream {stream_id} is closed")
        for at in range(0, len(data), MAX_DATA_BYTES):
            last = at + MAX_DATA_BYTES >= len(data)
            self._out.append(data_frame(stream_id, data[at : at + MAX_DATA_BYTES], fin=fin and last))
        if fin:
            if not data:
                self._out.append(data_frame(stream_id, b"", fin=True))
            halves.ours_open = False
            self._forget_if_closed(stream_id, halves)

    def reset(self, stream_id: int, status: Status = Status.CANCEL) -> None:
        """Give a stream up, both ways; one that is not there is success."""
        if self._streams.pop(stream_id, None) is not None:
            self._out.append(control(FrameType.RST_STREAM, 0, pack(stream_id, status)))

    def ping(self, number: int) -> None:
        """Ask for a sign of life; the peer sends the same frame back."""
        self._out.append(control(FrameType.PING, 0, pack(number << 1 | self._parity)))

    def go_away(self, status: int = 0) -> None:
        """Say that the connection ends: 0, or 1 for a protocol error. A peer may stop reading at once."""
        self._out.append(control(FrameType.GOAWAY, 0, pack(self._last_peer_id, status)))

    def _data(self, piece: DataPiece) -> Iterator[Event]:
        halves = self._streams.get(piece.stream_id)
        if halves is None or not halves.theirs_open:
            return
        if piece.data:
            yield DataReceived(piece.stream_id, piece.data)
        if piece.fin:
            yield from self._ended(piece.stream_id, halves)

    def _ended(self, stream_id: int, halves: _Halves) -> Iterator[Event]:
        halves.theirs_open = False
        self._forget_if_closed(stream_id, halves)
        yield StreamEnded(stream_id)

    def _forget_if_closed(self, stream_id: int, halves: _Halves) -> None:
        if not (halves.ours_open or halves.theirs_open):
            self._streams.pop(stream_id, None)

    def _control(self, frame: ControlFrame) -> Iterator[Event]:
        if frame.type == FrameType.SYN_STREAM:
            yield from self._syn_stream(frame)
        elif frame.type in (FrameType.SYN_REPLY, FrameType.HEADERS):
            yield from self._headers(frame)
        elif frame.type == FrameType.RST_STREAM:
            stream_id, status = numbers(frame.payload, 2, "RST_STREAM")
            if self._streams.pop(stream_id, None) is not None:
                yield StreamReset(stream_id, status)
        elif frame.type == FrameType.PING:
            (number,) = numbers(frame.payload, 1, "PING")
            if number & 1 != self._parity:
                self._out.append(control(FrameType.PING, 0, pack(number)))
        elif frame.type == FrameType.GOAWAY:
            numbers(frame.payload, 2, "GOAWAY")
            yield GoneAway()

    def _syn_stream(self, frame: ControlFrame) -> Iterator[Event]:
        (stream_id, _associated) = numbers(frame.payload, 2, "SYN_STREAM")
        # Decompressed even when the stream is refused: the compression's state spans all blocks.
        headers = self._decompressor.decompress(frame.payload[10:])
        if stream_id & 1 == self._parity or stream_id <= self._last_peer_id or stream_id > 0x7FFFFFFF:
            raise SpdyError(f"stream {stream_id} is not the peer's to open, or older than {self._last_peer_id}")
        self._last_peer_id = stream_id
        if len(self._streams) >= STREAM_LIMIT:
            self._out.append(control(FrameType.RST_STREAM, 0, pack(stream_id, Status.REFUSED_STREAM)))
            return
        halves = self._streams[stream_id] = _Halves(ours_open=not frame.flags & UNIDIRECTIONAL)
        yield StreamOpened(stream_id, headers)
        if frame.flags & FIN and stream_id in self._streams:
            yield from self._ended(stream_id, halves)

    def _headers(self, frame: ControlFrame) -> Iterator[Event]:
        (stream_id,) = numbers(frame.payload, 1, "SYN_REPLY")
        self._decompressor.decompress(frame.payload[4:])
        halves = self._streams.get(stream_id)
        if halves is None:
            return
        if frame.type == FrameType.SYN_REPLY:
            yield ReplyReceived(stream_id)
        if frame.flags & FIN and halves.theirs_open:
            yield from self._ended(stream_id, halves)
