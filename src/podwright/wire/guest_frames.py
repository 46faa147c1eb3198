"""The byte stream between a virtual machine's agent (`guest/`) and the host (`vm/`): frames, streams, and their credit.

    ┌ kind u8 ┬ id u32 ┬ length u32 ┐ body …                big-endian; at most 1 MiB of JSON, 32 KiB of data

The host asks (REQUEST), the agent answers each request once (RESPONSE, or FAILURE with an error's words), in the order
in which it gets done; ids of requests are the host's choice and are free again after the answer. NOTICEs are what the
agent says without being asked; the first frame of all is one. Bodies of these are JSON objects: docs/vm.md, "Protocol".

Streams carry input, output and terminals of processes, each in one direction, under numbers that the host chooses in
the request that starts the process. DATA costs credit: a sender begins with `CREDIT_BYTES` for each stream and gets
more (CREDIT) as the receiver passes bytes on, so that a slow reader stops its own stream and no other. END: the sender
writes no more. RESET: the receiver takes no more; whatever is under way is dropped. Frames on a stream that is not
open are dropped, as they may have crossed its END or RESET.

The standard library alone, because this file is copied into the machine; nothing here reads or writes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

PROTOCOL = 1
"""The version that the agent's first notice names. One that differs is not to be spoken to."""

PORT_NAME = "podwright.agent"
"""The name of the virtio-serial port."""

CREDIT_BYTES = 128 * 1024
DATA_LIMIT_BYTES = 32 * 1024
JSON_LIMIT_BYTES = 1024 * 1024

REQUEST, RESPONSE, FAILURE, NOTICE = 1, 2, 3, 4
DATA, END, CREDIT, RESET = 5, 6, 7, 8

_HEADER = struct.Struct(">BII")
_AMOUNT = struct.Struct(">I")
_LIMITS = {
    REQUEST: JSON_LIMIT_BYTES, RESPONSE: JSON_LIMIT_BYTES, FAILURE: JSON_LIMIT_BYTES, NOTICE: JSON_LIMIT_BYTES,
    DATA: DATA_LIMIT_BYTES, END: 0, CREDIT: _AMOUNT.size, RESET: 0,
}  # fmt: skip


class ProtocolError(Exception):
    """The peer breaks the rules above: the connection is of no more use."""


class Frame(NamedTuple):
    """One frame. `id`: of the request, or the stream; 0 for a notice."""

    kind: int
    id: int
    body: bytes


def encode(kind: int, id_: int, body: bytes = b"") -> bytes:
    """One frame as bytes. Raises ValueError for a body that is too long; nothing was sent then."""
    if len(body) > _LIMITS[kind]:
        raise ValueError(f"a body of {len(body)} bytes, where {_LIMITS[kind]} are allowed")
    return _HEADER.pack(kind, id_, len(body)) + body


class Decoder:
    """Bytes in any pieces → frames. Holds at most one unfinished frame, and what came with its end."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete now. Raises ProtocolError; the decoder is of no use then."""
        self._buffer += data
        at = 0
        try:
            while len(self._buffer) - at >= _HEADER.size:
                kind, id_, length = _HEADER.unpack_from(self._buffer, at)
                if length > _LIMITS.get(kind, -1):
                    raise ProtocolError(f"not a frame: {bytes(self._buffer[at : at + _HEADER.size]).hex()}")
                end = at + _HEADER.size + length
                if len(self._buffer) < end:
                    return
                body = bytes(self._buffer[at + _HEADER.size : end])
                at = end
                yield Frame(kind, id_, body)
        finally:
            del self._buffer[:at]


class Streams:
    """The open streams of one side of a connection, and their credit.

    `receive` takes the peer's DATA, END, CREDIT and RESET frames; every method that gives bytes gives whole frames for
    the peer (or none). A number may be opened anew once it is closed: by END or RESET, of either side.
    """

    def __init__(self) -> None:
        self._sending: dict[int, int] = {}  # stream → bytes that may be sent
        self._receiving: dict[int, tuple[int, int]] = {}  # stream → bytes the peer may send; taken, and not yet told

    def open_sending(self, stream: int) -> None:
        """This side writes on the stream. Raises ValueError when it is open."""
        self._require_new(stream)
        self._sending[stream] = CREDIT_BYTES

    def open_receiving(self, stream: int) -> None:
        """This side reads from the stream. Raises ValueError when it is open."""
        self._require_new(stream)
        self._receiving[stream] = (CREDIT_BYTES, 0)

    def _require_new(self, stream: int) -> None:
        if stream in self._sending or stream in self._receiving:
            raise ValueError(f"stream {stream} is open")

    def credit(self, stream: int) -> int:
        """How many bytes may be sent now; 0 for a stream that is not open."""
        return self._sending.get(stream, 0)

    def is_sending(self, stream: int) -> bool:
        """Whether the stream is open for this side to write on."""
        return stream in self._sending

    def is_receiving(self, stream: int) -> bool:
        """Whether the stream is open for the peer to write on."""
        return stream in self._receiving

    def send(self, stream: int, data: bytes) -> bytes:
        """`data` as frames; b"" when the stream is closed. Raises ValueError for more than there is credit for."""
        credit = self._sending.get(stream)
        if credit is None:
            return b""
        if len(data) > credit:
            raise ValueError(f"{len(data)} bytes on stream {stream}, which has credit for {credit}")
        self._sending[stream] = credit - len(data)
        pieces = range(0, len(data), DATA_LIMIT_BYTES)
        return b"".join(encode(DATA, stream, data[at : at + DATA_LIMIT_BYTES]) for at in pieces)

    def end(self, stream: int) -> bytes:
        """This side writes no more; b"" when the stream is closed."""
        return b"" if self._sending.pop(stream, None) is None else encode(END, stream)

    def took(self, stream: int, count: int) -> bytes:
        """`count` received bytes have been passed on. The peer is told in portions, not of each few bytes."""
        entry = self._receiving.get(stream)
        if entry is None:
            return b""
        allowed, untold = entry[0], entry[1] + count
        if untold < CREDIT_BYTES // 4:
            self._receiving[stream] = (allowed, untold)
            return b""
        self._receiving[stream] = (allowed + untold, 0)
        return encode(CREDIT, stream, _AMOUNT.pack(untold))

    def reset(self, stream: int) -> bytes:
        """This side takes no more; b"" when the stream is closed."""
        return b"" if self._receiving.pop(stream, None) is None else encode(RESET, stream)

    def receive(self, frame: Frame) -> bool:
        """Account for a frame of a stream; False: it is for a stream that is not open, drop it. Raises ProtocolError.

        After END the stream is closed here once the caller has been told; after RESET, too.
        """
        if frame.kind == DATA:
            return self._received(frame.id, len(frame.body))
        if frame.kind == END:
            return self._receiving.pop(frame.id, None) is not None
        if frame.kind == RESET:
            return self._sending.pop(frame.id, None) is not None
        return self._credited(frame)

    def _received(self, stream: int, count: int) -> bool:
        entry = self._receiving.get(stream)
        if entry is None:
            return False
        if count > entry[0]:
            raise ProtocolError(f"{count} bytes on stream {stream}, which has credit for {entry[0]}")
        self._receiving[stream] = (entry[0] - count, entry[1])
        return True

    def _credited(self, frame: Frame) -> bool:
        if frame.kind != CREDIT or len(frame.body) != _AMOUNT.size:
            raise ProtocolError(f"a frame of kind {frame.kind} with {len(frame.body)} bytes on stream {frame.id}")
        (more,) = _AMOUNT.unpack(frame.body)
        credit = self._sending.get(frame.id)
        if credit is None:
            return False
        if credit + more > CREDIT_BYTES:
            raise ProtocolError(f"credit for {credit + more} bytes on stream {frame.id}: more than was sent")
        self._sending[frame.id] = credit + more
        return True
