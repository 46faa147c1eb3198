"""NRI's multiplexer: two ttrpc connections on one socket, one for each direction of calls.

    ┌ connection id u32 ┬ payload length u32 ┐ payload …                big-endian

Connection 1 carries the calls of the plugin's service, 2 those of the runtime's. Payloads are pieces of a byte
stream, but not any pieces will do: upstream's plugins read each connection through a buffer of 4096 bytes, and a
payload that is longer than the place it is read into is an error there. What upstream's own writer sends is what
they can read: a message begins a payload, which is 4096 bytes at most, and all the rest follows in a second one.
Source: containerd/nri, pkg/net/multiplex.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from podwright.wire import ttrpc

PLUGIN_SERVICE = 1
RUNTIME_SERVICE = 2

_HEADER = struct.Struct(">II")
_FIRST_BYTES = 4096
PAYLOAD_LIMIT_BYTES = ttrpc.HEADER.size + ttrpc.DATA_LIMIT_BYTES


def encode(connection: int, message: bytes) -> bytes:
    """One ttrpc frame as payloads of a connection."""
    first, rest = message[:_FIRST_BYTES], message[_FIRST_BYTES:]
    pieces = _HEADER.pack(connection, len(first)) + first
    return pieces + _HEADER.pack(connection, len(rest)) + rest if rest else pieces


class Decoder:
    """Bytes in any pieces → (connection, piece of its stream). A payload is passed on as it comes, never collected."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._connection = 0
        self._left = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Raises ttrpc.ProtocolError for a payload that is longer than any message."""
        view = memoryview(data)
        while view:
            if self._left:
                piece = bytes(view[: self._left])
                view = view[len(piece) :]
                self._left -= len(piece)
                yield self._connection, piece
                continue
            missing = _HEADER.size - len(self._header)
            self._header += view[:missing]
            view = view[missing:]
            if len(self._header) == _HEADER.size:
                self._connection, self._left = _HEADER.unpack(self._header)
                self._header.clear()
                if self._left > PAYLOAD_LIMIT_BYTES:
                    raise ttrpc.ProtocolError(f"a payload of {self._left} bytes on connection {self._connection}")
