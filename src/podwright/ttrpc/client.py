"""The calling side: unary calls with a time limit. Whoever owns the connection feeds in what arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from podwright.base.errors import DeadlineExceeded
from podwright.ttrpc.errors import ConnectionLost, RemoteError
from podwright.wire import ttrpc

M = TypeVar("M", bound=Message)


class Client:
    """Calls to one peer. `send` is given one whole frame at a time."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._wire = ttrpc.Client()
        self._waiting: dict[int, asyncio.Future[ttrpc.Responded]] = {}
        self._lost: str = ""

    async def call(self, service: str, method: str, request: Message, answer: type[M], *, timeout_s: float) -> M:
        """Raises RemoteError, ConnectionLost, DeadlineExceeded, ttrpc.MessageTooLong, ttrpc.ProtocolError."""
        if self._lost:
            raise ConnectionLost(f"{method}: {self._lost}")
        stream, frame = self._wire.request(
            service, method, request.SerializeToString(), timeout_ns=int(timeout_s * 1e9)
        )
        waiting = self._waiting[stream] = asyncio.get_running_loop().create_future()
        self._send(frame)
        try:
            async with asyncio.timeout(timeout_s):
                responded = await waiting
        except TimeoutError:
            raise DeadlineExceeded(f"{method} was not answered within {timeout_s:g} s") from None
        finally:
            self._wire.forget(stream)
            self._waiting.pop(stream, None)
        if responded.code:
            raise RemoteError(method, responded.code, responded.message)
        try:
            return answer.FromString(responded.payload)
        except DecodeError as error:
            raise ttrpc.ProtocolError(f"the answer to {method} is not a {answer.DESCRIPTOR.name}: {error}") from error

    def feed(self, data: bytes) -> None:
        """Bytes that the peer sent. Raises ttrpc.ProtocolError."""
        for event in self._wire.receive(data):
            assert isinstance(event, ttrpc.Responded)  # only streaming calls get data, and none is made here
            waiting = self._waiting.get(event.stream)
            if waiting is not None and not waiting.done():
                waiting.set_result(event)

    def close(self, reason: str) -> None:
        """The connection is gone: whoever waits learns it, and later calls fail at once."""
        self._lost = self._lost or reason
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ConnectionLost(reason))
