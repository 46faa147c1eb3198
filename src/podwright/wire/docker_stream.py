"""Output of containers and execs as the Docker Engine multiplexes it: frames of an 8-byte head and data.

The head is the stream's number (0 stdin, 1 stdout, 2 stderr, 3 an error of the engine's own), three zero bytes, and
the length of the data as a 32-bit big-endian number. Without frames travels what has a terminal: it has one stream.
Source: Docker Engine API v1.41, POST /containers/{id}/attach, "Stream format"; moby, pkg/stdcopy.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_HEAD = struct.Struct(">B3xI")
_ZEROS = bytes(3)


class Stream(enum.IntEnum):
    """Where data comes from. ENGINE_ERROR: the engine says why there won't be more."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    ENGINE_ERROR = 3


HEAD_BYTES = _HEAD.size
_NUMBERED = tuple(Stream)


class BadFrame(Exception):
    """Bytes that are no frame: most likely the process has a terminal."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Data of one frame, all of it or a part. `ends`: the frame ends here; logs have one message a frame."""

    stream: Stream
    data: bytes
    ends: bool


def read_head(data: bytes, at: int) -> tuple[Stream, int]:
    """The stream of the frame whose head is at `at`, and how long its data is. Raises BadFrame."""
    number, length = _HEAD.unpack_from(data, at)
    if number > Stream.ENGINE_ERROR or data[at + 1 : at + 4] != _ZEROS:
        raise BadFrame(f"a frame begins with {data[at : at + _HEAD.size].hex()}")
    return _NUMBERED[number], length


class FrameReader:
    """Bytes in pieces of any size to pieces of frames. Holds at most a head: data is passed on as it comes."""

    def __init__(self) -> None:
        self._head = b""
        self._stream = Stream.STDOUT
        self._left = 0

    @property
    def between_frames(self) -> bool:
        """Whether a stream that ends here ends whole."""
        return self._left == 0 and not self._head

    def feed(self, data: bytes) -> Iterator[Piece]:
        """What `data` brings. Raises BadFrame."""
        view = memoryview(data)
        while view:
            if self._left:
                part, view = view[: self._left], view[self._left :]
                self._left -= len(part)
                yield Piece(self._stream, bytes(part), self._left == 0)
                continue
            need = _HEAD.size - len(self._head)
            self._head, view = self._head + bytes(view[:need]), view[need:]
            if len(self._head) == _HEAD.size and self._begin():
                yield Piece(self._stream, b"", ends=True)

    def _begin(self) -> bool:
        """Take the head; whether its frame is empty."""
        head, self._head = self._head, b""
        self._stream, self._left = read_head(head, 0)
        return self._left == 0


def encode_frame(stream: Stream, data: bytes) -> bytes:
    """One frame, as the engine sends it."""
    return _HEAD.pack(stream, len(data)) + data
