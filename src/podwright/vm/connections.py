"""The keeper's end of its socket: connections, with messages and descriptors. What is said is in `control.py`."""

from __future__ import annotations

import os
import socket

import msgspec

from podwright.linux.process import readable
from podwright.vm.control import MESSAGE_LIMIT_BYTES, Message

_DESCRIPTORS = 16


class Descriptors:
    """Descriptors that came with a message: each is taken once, or closed with the rest."""

    def __init__(self, numbers: list[int]) -> None:
        self._numbers = numbers

    def take(self) -> int:
        """The next. Raises IndexError when there is none."""
        return self._numbers.pop(0)

    def close(self) -> None:
        while self._numbers:
            os.close(self._numbers.pop())


class Connection:
    """The keeper's end of one connection."""

    def __init__(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)  # noqa: FBT003 - positional only
        self._socket = accepted

    async def receive(self) -> tuple[Message, Descriptors] | None:
        """The next message, and descriptors that are now ours to close; None at the end."""
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._socket, MESSAGE_LIMIT_BYTES, _DESCRIPTORS)
            except BlockingIOError:
                await readable(self._socket.fileno())
                continue
            except OSError:
                return None
            if not data:
                return None
            return msgspec.json.decode(data), Descriptors(descriptors)

    def send(self, message: Message) -> None:
        """Nobody who asks keeps the queue full: one that did is left without an answer."""
        try:
            self._socket.send(msgspec.json.encode(message))
        except OSError:
            return

    def close(self) -> None:
        self._socket.close()
