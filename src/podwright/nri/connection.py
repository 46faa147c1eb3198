"""One plugin's socket: calls to the plugin, and calls by it, side by side. Ends at the first thing that isn't NRI."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeVar

from google.protobuf.message import Message

from podwright.nri import nri_pb2 as pb
from podwright.ttrpc.client import Client
from podwright.ttrpc.server import Method, Server
from podwright.wire import nri_mux, ttrpc

M = TypeVar("M", bound=Message)

PLUGIN_SERVICE = pb.DESCRIPTOR.services_by_name["Plugin"].full_name
RUNTIME_SERVICE = pb.DESCRIPTOR.services_by_name["Runtime"].full_name

_READ_BYTES = 65536
# What a plugin has not read yet; a plugin is asked one thing at a time, so only one that does not read gets there.
_UNREAD_LIMIT_BYTES = 4 * ttrpc.DATA_LIMIT_BYTES


class Connection:
    """`run` reads until the connection ends; `close` may be called at any time, by anybody."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, methods: Mapping[str, Method], *,
        on_close: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._reader, self._writer, self._on_close = reader, writer, on_close
        self._client = Client(lambda frame: self._send(nri_mux.PLUGIN_SERVICE, frame))
        served = {(RUNTIME_SERVICE, name): method for name, method in methods.items()}
        self._server = Server(lambda frame: self._send(nri_mux.RUNTIME_SERVICE, frame), served)
        self.closed = ""
        """Why the connection has ended; '' while it has not."""

    async def call(self, method: str, request: Message, answer: type[M], *, timeout_s: float) -> M:
        """A call of the plugin's service. Raises what ttrpc's `Client.call` does."""
        return await self._client.call(PLUGIN_SERVICE, method, request, answer, timeout_s=timeout_s)

    async def run(self) -> None:
        """Read until the end, and clean up. Never raises for what a plugin does."""
        reason = "the plugin has closed the connection"
        try:
            decoder = nri_mux.Decoder()
            while data := await self._reader.read(_READ_BYTES):
                for connection, piece in decoder.feed(data):
                    self._receive(connection, piece)
        except (ttrpc.ProtocolError, OSError) as error:
            reason = str(error)
        finally:
            self.close(reason)
            await self._server.close()

    def _receive(self, connection: int, piece: bytes) -> None:
        if connection == nri_mux.PLUGIN_SERVICE:
            self._client.feed(piece)
        elif connection == nri_mux.RUNTIME_SERVICE:
            self._server.feed(piece)
        # Other connections are reserved; upstream drops them, too.

    def _send(self, connection: int, frame: bytes) -> None:
        if self.closed:
            return
        self._writer.write(nri_mux.encode(connection, frame))
        if self._writer.transport.get_write_buffer_size() > _UNREAD_LIMIT_BYTES:
            self.close("the plugin does not read what it is sent")

    def close(self, reason: str) -> None:
        """End it: who waits for an answer is told so."""
        if not self.closed:
            self.closed = reason
            self._client.close(reason)
            self._writer.transport.abort()
            self._on_close(reason)
