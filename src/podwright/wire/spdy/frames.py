"""Frames of SPDY/3.1: bytes to frames and back. DATA comes out in pieces as it arrives, so no frame is ever held whole.

Source: SPDY protocol draft 3.1, section 2.2 (framing) and 2.6 (control frames).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

VERSION = 3
FIN = 0x01
UNIDIRECTIONAL = 0x02
MAX_DATA_BYTES = 0xFFFFFF

# A control frame's payload: a block of headers of Kubernetes has some 100 bytes, and nothing else is larger.
CONTROL_LIMIT_BYTES = 16 * 1024

_CONTROL = 0x80000000
_ID = 0x7FFFFFFF
_HEAD = struct.Struct(">II")


class FrameType(IntEnum):
    """Control frames. Others exist (NOOP, CREDENTIAL) and are skipped, as the draft asks for types one doesn't know."""

    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


class Status(IntEnum):
    """Why a stream is reset."""

    PROTOCOL_ERROR = 1
    INVALID_STREAM = 2
    REFUSED_STREAM = 3
    UNSUPPORTED_VERSION = 4
    CANCEL = 5
    INTERNAL_ERROR = 6


class SpdyError(Exception):
    """The peer broke the protocol or a limit: the connection can't go on."""


@dataclass(frozen=True, slots=True)
class ControlFrame:
    """A whole control frame."""

    type: int
    flags: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class DataPiece:
    """A part of a DATA frame. `fin` comes with the last part of a frame that ends its stream."""

    stream_id: int
    data: bytes
    fin: bool


class FrameReader:
    """Bytes in pieces of any size to frames. Holds less than one control frame."""

    def __init__(self) -> None:
        self._rest = b""
        self._stream_id = 0
        self._flags = 0
        self._data_left = 0

    def feed(self, data: bytes) -> Iterator[ControlFrame | DataPiece]:
        """The frames that `data` completes, and the pieces of DATA in it. Raises SpdyError."""
        data, at = self._rest + data, 0
        while True:
            if self._data_left:
                piece = data[at : at + self._data_left]
                if not piece:
                    break
                at += len(piece)
                self._data_left -= len(piece)
                yield DataPiece(self._stream_id, piece, self._flags & FIN != 0 and self._data_left == 0)
                continue
            if len(data) - at < _HEAD.size:
                break
            first, second = _HEAD.unpack_from(data, at)
            flags, length = second >> 24, second & MAX_DATA_BYTES
            if first & _CONTROL:
                _check_control(first >> 16 & 0x7FFF, first & 0xFFFF, length)
                if len(data) - at < _HEAD.size + length:
                    break
                at += _HEAD.size + length
                yield ControlFrame(first & 0xFFFF, flags, data[at - length : at])
                continue
            at += _HEAD.size
            self._stream_id, self._flags, self._data_left = first & _ID, flags, length
            if length == 0 and flags & FIN:
                yield DataPiece(self._stream_id, b"", fin=True)
        self._rest = data[at:]


def _check_control(version: int, kind: int, length: int) -> None:
    if version != VERSION:
        raise SpdyError(f"control frame of version {version}, not {VERSION}: is this SPDY?")
    if length > CONTROL_LIMIT_BYTES:
        raise SpdyError(f"control frame of type {kind} has {length} bytes, more than {CONTROL_LIMIT_BYTES}")


def control(kind: FrameType, flags: int, payload: bytes) -> bytes:
    """A control frame."""
    return _HEAD.pack(_CONTROL | VERSION << 16 | kind, flags << 24 | len(payload)) + payload


def data_frame(stream_id: int, data: bytes, *, fin: bool) -> bytes:
    """A DATA frame of at most `MAX_DATA_BYTES`."""
    return _HEAD.pack(stream_id, (FIN if fin else 0) << 24 | len(data)) + data


def numbers(payload: bytes, count: int, kind: str) -> tuple[int, ...]:
    """The leading 32-bit numbers of a control frame's payload. Raises SpdyError when it is too short."""
    if len(payload) < 4 * count:
        raise SpdyError(f"{kind} frame has {len(payload)} bytes, fewer than {4 * count}")
    found: tuple[int, ...] = struct.unpack_from(f">{count}I", payload)
    return found


def pack(*values: int) -> bytes:
    """32-bit numbers as a payload."""
    return struct.pack(f">{len(values)}I", *values)
