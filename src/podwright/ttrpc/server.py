"""The serving side: unary methods, a bounded number at a time. Whoever owns the connection feeds in what arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError, Message

from podwright.base.errors import DeadlineExceeded, InvalidArgument, PodwrightError
from podwright.base.log import get_logger
from podwright.base.tasks import Tasks
from podwright.ttrpc.errors import code_of
from podwright.wire import ttrpc

log = get_logger(__name__)

DEFAULT_LIMIT = 64


@dataclass(frozen=True)
class Method:
    """One method: what it takes, and who does it."""

    request: type[Message]
    handle: Callable[[Any], Awaitable[Message]]


class Server:
    """Serves one peer. `methods` by (service, method); `send` is given one whole frame at a time.

    Calls beyond `limit` at once are refused with RESOURCE_EXHAUSTED, streaming ones with UNIMPLEMENTED.
    """

    def __init__(
        self, send: Callable[[bytes], None], methods: Mapping[tuple[str, str], Method], *, limit: int = DEFAULT_LIMIT
    ) -> None:
        self._send, self._methods, self._limit = send, methods, limit
        self._wire = ttrpc.Server()
        self._tasks = Tasks("ttrpc")

    def feed(self, data: bytes) -> None:
        """Bytes that the peer sent. Raises ttrpc.ProtocolError."""
        for event in self._wire.receive(data):
            if isinstance(event, ttrpc.Requested):
                self._accept(event)
            # Data belongs to streaming calls, which have been refused.
        if self._wire.refusals:
            self._send(bytes(self._wire.refusals))
            self._wire.refusals.clear()

    def _accept(self, call: ttrpc.Requested) -> None:
        method = self._methods.get((call.service, call.method))
        if method is None or call.streaming:
            what = "streaming is not served" if method else f"no method {call.service}/{call.method}"
            self._send(self._wire.fail(call.stream, ttrpc.Code.UNIMPLEMENTED, what))
        elif len(self._tasks) >= self._limit:
            self._send(self._wire.fail(call.stream, ttrpc.Code.RESOURCE_EXHAUSTED, "too many calls at once"))
        else:
            self._tasks.start(self._run(call, method), name=call.method)

    async def _run(self, call: ttrpc.Requested, method: Method) -> None:
        try:
            async with asyncio.timeout(call.timeout_ns / 1e9 if call.timeout_ns else None):
                answer = await method.handle(_decode(call, method))
            frame = self._wire.respond(call.stream, answer.SerializeToString())
        except TimeoutError:
            frame = self._fail(call, DeadlineExceeded(f"{call.method} did not end in the time given"))
        except PodwrightError as error:
            frame = self._fail(call, error)
        except Exception as error:
            log.exception("a ttrpc method failed", method=call.method)
            frame = self._wire.fail(call.stream, ttrpc.Code.UNKNOWN, f"{call.method}: {error!r}")
        self._send(frame)

    def _fail(self, call: ttrpc.Requested, error: PodwrightError) -> bytes:
        return self._wire.fail(call.stream, code_of(error), str(error))

    async def close(self) -> None:
        """Cancel the methods that still run: nobody waits for them."""
        await self._tasks.close()


def _decode(call: ttrpc.Requested, method: Method) -> Message:
    try:
        return method.request.FromString(call.payload)
    except DecodeError as error:
        raise InvalidArgument(f"not a {method.request.DESCRIPTOR.name}: {error}") from error
