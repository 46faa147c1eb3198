"""The connection to one shim; all containers of its pod use it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from google.protobuf.message import Message

from podwright.base.tasks import Tasks
from podwright.shim.bootstrap import Endpoint
from podwright.shim.names import task_service
from podwright.ttrpc.client import Client
from podwright.ttrpc.errors import ConnectionLost
from podwright.wire import ttrpc

M = TypeVar("M", bound=Message)

_READ_BYTES = 65536


class Connection:
    """Calls of the task service. Ends when the shim does, or says what isn't ttrpc; `gone` is called then, once."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, version: int, tasks: Tasks,
        gone: Callable[[], None],
    ) -> None:  # fmt: skip
        self._writer, self._service, self._gone = writer, task_service(version), gone
        self._client = Client(writer.write)
        self._closed = False
        self._reading = tasks.start(self._read(reader), name="connection")

    @staticmethod
    async def open(endpoint: Endpoint, tasks: Tasks, gone: Callable[[], None]) -> Connection:
        """Raises ConnectionLost when nobody serves there."""
        try:
            reader, writer = await asyncio.open_unix_connection(endpoint.path)
        except OSError as error:
            raise ConnectionLost(f"the shim at {endpoint.path} does not answer: {error.strerror}") from error
        return Connection(reader, writer, endpoint.version, tasks, gone)

    async def call(self, method: str, request: Message, answer: type[M], *, timeout_s: float) -> M:
        """Raises what ttrpc's `Client.call` does."""
        return await self._client.call(self._service, method, request, answer, timeout_s=timeout_s)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        reason = "the shim has closed the connection"
        try:
            while data := await reader.read(_READ_BYTES):
                self._client.feed(data)
        except (ttrpc.ProtocolError, OSError) as error:
            reason = str(error)
        finally:
            self._close(reason)

    def _close(self, reason: str) -> None:
        if not self._closed:
            self._closed = True
            self._client.close(reason)
            self._writer.transport.abort()
            self._gone()

    async def close(self) -> None:
        """Let go of the shim, which lives on."""
        self._reading.cancel()
        await asyncio.wait({self._reading})
        self._close("the connection was closed")
