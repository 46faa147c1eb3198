"""ttrpc: gRPC's services over a plain byte stream, without HTTP/2.

    ┌ data length u32 ┬ stream id u32 ┬ type u8 ┬ flags u8 ┐ data …     big-endian, at most 4 MiB of data

The client opens streams with odd, growing ids. A unary call is one request and one response; in a streaming call
(request flags) both sides may send data frames before the response. Nothing cancels a stream: who gives up on an
answer forgets the stream and drops what still comes. Source: containerd/ttrpc, PROTOCOL.md and request.proto.

`Client` and `Server` keep one side of one connection each. Bytes from the peer go into `receive`, which gives events;
every method that gives bytes gives whole frames for the peer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from google.protobuf.message import DecodeError

from podwright.base.errors import PodwrightError
from podwright.wire import ttrpc_pb2 as pb

DATA_LIMIT_BYTES = 4 * 1024 * 1024
HEADER = struct.Struct(">IIBB")
# The first byte of a header is reserved and zero: more than this is another protocol, not a message that is too long.
_RESERVED_FROM = 1 << 24


class ProtocolError(PodwrightError):
    """The peer doesn't speak ttrpc, or breaks its rules: the connection is of no more use."""


class MessageTooLong(PodwrightError):
    """More than 4 MiB of data for one frame; nothing was sent."""

    def __init__(self, size: int) -> None:
        super().__init__(f"a ttrpc message of {size} bytes is longer than the {DATA_LIMIT_BYTES} that are allowed")
        self.size = size


class Kind(IntEnum):
    """The type of a frame."""

    REQUEST = 1
    RESPONSE = 2
    DATA = 3


class Flag(IntFlag):
    """REMOTE_CLOSED: the sender sends no more data. REMOTE_OPEN: it will. NO_DATA: the frame carries none (an empty
    message, which has no bytes either, is data). A request without flags is unary."""

    REMOTE_CLOSED = 1
    REMOTE_OPEN = 2
    NO_DATA = 4


UNARY = Flag(0)


class Code(IntEnum):
    """The gRPC codes that this side gives by itself."""

    OK = 0
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. `oversized`: its data was longer than allowed and has been skipped."""

    stream: int
    kind: Kind
    flags: Flag
    data: bytes
    oversized: int = 0


def encode(stream: int, kind: Kind, flags: Flag, data: bytes) -> bytes:
    """One frame as bytes. Raises MessageTooLong."""
    if len(data) > DATA_LIMIT_BYTES:
        raise MessageTooLong(len(data))
    return HEADER.pack(len(data), stream, kind, flags) + data


class FrameDecoder:
    """Bytes in any pieces → frames. Holds at most one unfinished frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._skipping: Frame | None = None
        self._skip_bytes = 0

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete now. Raises ProtocolError; the decoder is of no use then."""
        self._buffer += data
        while (frame := self._skip() if self._skipping else self._next()) is not None:
            yield frame

    def _next(self) -> Frame | None:
        if len(self._buffer) < HEADER.size:
            return None
        length, stream, kind, flags = HEADER.unpack_from(self._buffer)
        if length >= _RESERVED_FROM or kind not in Kind.__members__.values():
            raise ProtocolError(f"not a ttrpc frame: {bytes(self._buffer[: HEADER.size]).hex()}")
        if length > DATA_LIMIT_BYTES:
            del self._buffer[: HEADER.size]
            self._skipping = Frame(stream, Kind(kind), Flag(flags), b"", oversized=length)
            self._skip_bytes = length
            return self._skip()
        end = HEADER.size + length
        if len(self._buffer) < end:
            return None
        frame = Frame(stream, Kind(kind), Flag(flags), bytes(self._buffer[HEADER.size : end]))
        del self._buffer[:end]
        return frame

    def _skip(self) -> Frame | None:
        taken = min(self._skip_bytes, len(self._buffer))
        del self._buffer[:taken]
        self._skip_bytes -= taken
        if self._skip_bytes:
            return None
        frame, self._skipping = self._skipping, None
        return frame


@dataclass(frozen=True, slots=True)
class Responded:
    """A call's end: `code` 0 and the encoded answer, or a gRPC code and a message for people."""

    stream: int
    payload: bytes = b""
    code: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class DataReceived:
    """Data on a streaming call; None: the frame carried none. `last`: the peer sends no more."""

    stream: int
    payload: bytes | None
    last: bool


@dataclass(frozen=True, slots=True)
class Requested:
    """A call that the peer makes. `timeout_ns` 0: none. `streaming`: it is not unary; `open`: data will follow."""

    stream: int
    service: str
    method: str
    payload: bytes
    timeout_ns: int
    metadata: tuple[tuple[str, str], ...]
    streaming: bool
    open: bool


class Client:
    """The calling side of a connection."""

    def __init__(self) -> None:
        self._decoder = FrameDecoder()
        self._next = 1
        self._open: dict[int, bool] = {}  # stream → whether it is a streaming one

    def request(
        self, service: str, method: str, payload: bytes, *, timeout_ns: int = 0, flags: Flag = UNARY,
        metadata: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:  # fmt: skip
        """A new call: its stream, and the frame. `flags` make it a streaming one. Raises MessageTooLong."""
        message = pb.Request(
            service=service, method=method, payload=payload, timeout_nano=timeout_ns,
            metadata=[pb.KeyValue(key=key, value=value) for key, value in (metadata or {}).items()],
        )  # fmt: skip
        stream = self._next
        frame = encode(stream, Kind.REQUEST, flags, message.SerializeToString())
        self._next += 2
        self._open[stream] = bool(flags)
        return stream, frame

    def data(self, stream: int, payload: bytes | None, *, last: bool = False) -> bytes:
        """Data on a streaming call that was opened with REMOTE_OPEN; None: none, for an end that carries nothing."""
        return _data(stream, payload, last=last)

    def forget(self, stream: int) -> None:
        """Nobody waits for this call any more; what still comes for it is dropped."""
        self._open.pop(stream, None)

    def receive(self, data: bytes) -> Iterator[Responded | DataReceived]:
        """What the bytes say about calls somebody waits for. Raises ProtocolError."""
        for frame in self._decoder.feed(data):
            if frame.kind is Kind.REQUEST or frame.stream % 2 == 0 or frame.stream >= self._next:
                raise ProtocolError(f"unexpected {frame.kind.name.lower()} on stream {frame.stream}")
            streaming = self._open.get(frame.stream)
            if streaming is None:
                continue
            if frame.kind is Kind.RESPONSE:
                del self._open[frame.stream]
                yield _responded(frame)
            elif not streaming:
                raise ProtocolError(f"data on stream {frame.stream}, whose call is unary")
            else:
                yield _received(frame)


class Server:
    """The serving side of a connection."""

    def __init__(self) -> None:
        self._decoder = FrameDecoder()
        self._last = 0
        self._open: set[int] = set()  # streams on which the client may still send data
        self.refusals = bytearray()
        """Answers to calls that could not be read, for the caller to send and clear after each `receive`."""

    def receive(self, data: bytes) -> Iterator[Requested | DataReceived]:
        """What the client asks for. Raises ProtocolError."""
        for frame in self._decoder.feed(data):
            if frame.kind is Kind.REQUEST:
                event = self._requested(frame)
                if event is not None:
                    yield event
            elif frame.kind is Kind.DATA and frame.stream in self._open:
                received = _received(frame)
                if received.last:
                    self._open.discard(frame.stream)
                yield received
            elif frame.kind is Kind.RESPONSE or frame.stream > self._last:
                raise ProtocolError(f"unexpected {frame.kind.name.lower()} on stream {frame.stream}")

    def _requested(self, frame: Frame) -> Requested | None:
        if frame.stream % 2 == 0 or frame.stream <= self._last:
            raise ProtocolError(f"stream {frame.stream} after {self._last}: ids must be odd and grow")
        self._last = frame.stream
        if frame.oversized:
            self.refusals += self.fail(frame.stream, Code.RESOURCE_EXHAUSTED, str(MessageTooLong(frame.oversized)))
            return None
        try:
            request = pb.Request.FromString(frame.data)
        except DecodeError as error:
            self.refusals += self.fail(frame.stream, Code.INVALID_ARGUMENT, f"not a ttrpc request: {error}")
            return None
        if frame.flags & Flag.REMOTE_OPEN:
            self._open.add(frame.stream)
        return Requested(
            frame.stream, request.service, request.method, request.payload, max(0, request.timeout_nano),
            tuple((entry.key, entry.value) for entry in request.metadata),
            streaming=bool(frame.flags), open=bool(frame.flags & Flag.REMOTE_OPEN),
        )  # fmt: skip

    def data(self, stream: int, payload: bytes | None, *, last: bool = False) -> bytes:
        """Data on a streaming call."""
        return _data(stream, payload, last=last)

    def respond(self, stream: int, payload: bytes) -> bytes:
        """Success, which ends the call. Raises MessageTooLong."""
        response = pb.Response(payload=payload)
        frame = encode(stream, Kind.RESPONSE, UNARY, response.SerializeToString())
        self._open.discard(stream)
        return frame

    def fail(self, stream: int, code: int, message: str) -> bytes:
        """An error, which ends the call."""
        self._open.discard(stream)
        response = pb.Response(status=pb.Status(code=code, message=message[:65536]))
        return encode(stream, Kind.RESPONSE, UNARY, response.SerializeToString())


def _data(stream: int, payload: bytes | None, *, last: bool) -> bytes:
    flags = (Flag.REMOTE_CLOSED if last else Flag(0)) | (Flag.NO_DATA if payload is None else Flag(0))
    return encode(stream, Kind.DATA, flags, payload or b"")


def _received(frame: Frame) -> DataReceived:
    if frame.oversized:
        raise ProtocolError(str(MessageTooLong(frame.oversized)))
    payload = None if frame.flags & Flag.NO_DATA else frame.data
    return DataReceived(frame.stream, payload, last=bool(frame.flags & Flag.REMOTE_CLOSED))


def _responded(frame: Frame) -> Responded:
    if frame.oversized:
        return Responded(frame.stream, code=Code.RESOURCE_EXHAUSTED, message=str(MessageTooLong(frame.oversized)))
    try:
        response = pb.Response.FromString(frame.data)
    except DecodeError as error:
        raise ProtocolError(f"stream {frame.stream}: not a ttrpc response: {error}") from error
    return Responded(frame.stream, response.payload, response.status.code, response.status.message)
