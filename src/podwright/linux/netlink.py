"""Netlink requests and their answers: enough for questions to the kernel that have no file and no ioctl. netlink(7).

`routes.py` and `conntrack.py` ask through it. Each socket lives for one conversation; nothing here listens.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from types import TracebackType

ROUTE, NETFILTER = 0, 12  # linux/netlink.h
REPLACE, CREATE = 0x100, 0x400
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr
_ERROR, _DONE = 2, 3
_REQUEST, _ACK, _DUMP = 0x01, 0x04, 0x300
_TYPE_MASK = 0x3FFF
NESTED = 0x8000
_BUFFER_BYTES = 1 << 18


class Netlink:
    """`with Netlink(ROUTE) as netlink: netlink.ask(kind, body)`. Raises OSError with the kernel's errno."""

    def __init__(self, protocol: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._sequence = 0

    def __enter__(self) -> Netlink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def ask(self, kind: int, body: bytes, flags: int = 0) -> bytes:
        """One request with one answer; b"" where the kernel only acknowledges. `flags`: CREATE, REPLACE."""
        return next(self._converse(kind, body, _REQUEST | _ACK | flags), b"")

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """All answers to a request for a list."""
        return list(self._converse(kind, body, _REQUEST | _DUMP))

    def _converse(self, kind: int, body: bytes, flags: int) -> Iterator[bytes]:
        self._sequence += 1
        self._socket.send(_HEADER.pack(_HEADER.size + len(body), kind, flags, self._sequence, 0) + body)
        while True:
            data = self._socket.recv(_BUFFER_BYTES)
            while data:
                length, answer, _, _, _ = _HEADER.unpack_from(data)
                payload = data[_HEADER.size : length]
                if answer in (_ERROR, _DONE):
                    number = -struct.unpack_from("=i", payload)[0]
                    if number:
                        raise OSError(number, os.strerror(number))
                    return
                yield payload
                data = data[_aligned(length) :]


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded."""
    length = _ATTRIBUTE.size + len(payload)
    return _ATTRIBUTE.pack(length, kind) + payload + b"\0" * (_aligned(length) - length)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NESTED, b"".join(attributes))


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes in `data` by kind; of several of one kind the last."""
    found: dict[int, bytes] = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _TYPE_MASK] = data[_ATTRIBUTE.size : length]
        data = data[_aligned(length) :]
    return found


def _aligned(length: int) -> int:
    return (length + 3) & ~3
