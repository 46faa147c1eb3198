"""Port-forward through the server: over SPDY, SPDY in WebSocket, and WebSocket channels."""

import asyncio
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from podwright.base.errors import Unavailable
from podwright.base.tasks import Tasks, gather_all
from podwright.streaming import client
from podwright.streaming.base import PortForward
from podwright.streaming.client import PortForwarder
from podwright.streaming.spdy import SpdyConnection
from podwright.wire import portforward
from podwright.wire.channels import V4
from tests.support import names
from tests.support.streaming import Bytes, Collected, HostBackend, WebSocketClient, serving

POD = "pod"


@asynccontextmanager
async def echo_port(*, answer_at_end: bool = False, silent: bool = False) -> AsyncIterator[int]:
    """A TCP port that sends back what it gets: at once, or only when the client has ended."""
    writers: list[asyncio.StreamWriter] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        if answer_at_end:
            writer.write(await reader.read())
        while not silent and not answer_at_end and (data := await reader.read(65536)):
            writer.write(data)
            await writer.drain()
        if not silent:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


@asynccontextmanager
async def dialled(**settings: Any) -> AsyncIterator[SpdyConnection]:
    """A connection to a server of its own."""
    async with (
        serving(**settings) as server,
        client.dial(server.url(PortForward(POD)), portforward.PROTOCOL) as connection,
    ):
        yield connection


async def forward(connection: SpdyConnection, port: int, *pieces: bytes) -> bytes:
    out = Collected()
    async with asyncio.timeout(30):
        await PortForwarder(connection).forward(port, Bytes(*pieces), out)
    return bytes(out.data)


async def test_half_close_reaches_the_port_and_its_answer_comes_back() -> None:
    async with echo_port(answer_at_end=True) as port, dialled() as connection:
        assert await forward(connection, port, b"one", b" two") == b"one two"


async def test_a_client_that_resets_what_the_port_has_ended_hears_of_no_error() -> None:
    """client-go does so, and takes any text for a reason to end everything."""

    async def say(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"said")
        writer.close()

    server = await asyncio.start_server(say, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with dialled() as connection:
        for number in range(20):
            headers = {"port": str(port), "requestid": str(number)}
            error = await connection.open({"streamtype": "error", **headers})
            await error.close()
            data = await connection.open({"streamtype": "data", **headers})
            assert [await data.read() for _ in range(2)] == [b"said", b""]
            await data.reset()
            assert await error.read() == b""
    server.close()


async def test_many_at_once_and_one_after_the_other() -> None:
    async with echo_port() as port, dialled() as connection:
        forwarder = PortForwarder(connection)

        async def one(number: int) -> None:
            out, data = Collected(), os.urandom(1000 * number)
            await forwarder.forward(port, Bytes(data, data), out)
            assert bytes(out.data) == data + data

        await gather_all(*(one(number) for number in range(100)), limit=50)


async def test_a_port_that_nobody_listens_on_is_an_error_and_the_connection_goes_on() -> None:
    async with echo_port() as port, dialled() as connection:
        with pytest.raises(Unavailable, match="refused"):
            await forward(connection, names.free_port(), b"x")
        assert await forward(connection, port, b"x") == b"x"


@pytest.mark.parametrize("how", ["reset", "leave"])
async def test_a_client_that_leaves_ends_its_connections(how: str) -> None:
    backend, tasks = HostBackend(), Tasks("test")
    async with echo_port(silent=True) as port, serving(backend) as server:
        async with client.dial(server.url(PortForward(POD)), portforward.PROTOCOL) as connection:
            forwarding = tasks.start(
                PortForwarder(connection).forward(port, Bytes(b"x", endless=True), Collected()), name="forward"
            )
            await asyncio.sleep(0.05)
            if how == "reset":
                forwarding.cancel()
                await asyncio.wait([forwarding])
                while not backend.ended:
                    await asyncio.sleep(0.001)
        await tasks.close()
        while not backend.ended or len(server):
            await asyncio.sleep(0.001)


async def test_streams_that_make_no_sense_are_refused() -> None:
    async with serving() as server, client.dial(server.url(PortForward(POD)), portforward.PROTOCOL) as connection:
        for headers in (
            {"streamtype": "data"},
            {"streamtype": "data", "port": "0", "requestid": "1"},
            {"streamtype": "data", "port": "65536", "requestid": "1"},
            {"streamtype": "data", "port": "x", "requestid": "1"},
            {"streamtype": "stdin", "port": "80", "requestid": "1"},
            {"port": "80", "requestid": "1"},
        ):
            with pytest.raises(ConnectionRefusedError):
                await connection.open(headers)
        await connection.open({"streamtype": "data", "port": "80", "requestid": "1"})
        with pytest.raises(ConnectionRefusedError):
            await connection.open({"streamtype": "data", "port": "80", "requestid": "1"})


async def test_half_a_pair_is_given_up() -> None:
    async with dialled(creation_timeout_s=0.1) as connection:
        stream = await connection.open({"streamtype": "data", "port": "80", "requestid": "1"})
        with pytest.raises(ConnectionError, match="reset"):
            await stream.read()
        again = await connection.open({"streamtype": "data", "port": "80", "requestid": "1"})
        await again.reset()


async def test_streams_without_a_request_id_pair_by_their_numbers() -> None:
    async with echo_port() as port, dialled() as connection:
        await connection.open({"streamtype": "error", "port": str(port)})
        data = await connection.open({"streamtype": "data", "port": str(port)})
        await data.write(b"hello")
        assert await data.read() == b"hello"


async def test_thousands_of_opened_and_reset_streams_leave_nothing() -> None:
    async with dialled() as connection:
        before = len(asyncio.all_tasks())
        for number in range(2000):
            kind = ("error", "data")[number % 2]
            stream = await connection.open({"streamtype": kind, "port": "80", "requestid": str(number)})
            await stream.reset()
        assert len(asyncio.all_tasks()) == before
        loop = asyncio.get_running_loop()
        live = [handle for handle in getattr(loop, "_scheduled", []) if not handle.cancelled()]
        assert len(live) < 50


class Tunnelled:
    """SPDY in WebSocket messages, cut where the other side doesn't expect it."""

    def __init__(self, socket: WebSocketClient) -> None:
        self._socket, self._messages = socket, socket.messages()

    async def read(self) -> bytes:
        return await anext(self._messages, b"")

    async def write(self, data: bytes) -> None:
        for at in range(0, len(data), 5):
            await self._socket.send(data[at : at + 5])


async def test_spdy_in_websocket() -> None:
    async with echo_port() as port, serving() as server:
        socket = await WebSocketClient.connect(server.url(PortForward(POD)), portforward.TUNNEL_PROTOCOL)
        tasks = Tasks("test")
        connection = SpdyConnection(Tunnelled(socket), client=True)
        reading = tasks.start(connection.run(), name="read")
        assert await forward(connection, port, b"one", b"two") == b"onetwo"
        with pytest.raises(Unavailable, match="refused"):
            await forward(connection, names.free_port(), b"x")
        await socket.close()
        reading.cancel()
        while len(server):
            await asyncio.sleep(0.001)


async def test_websocket_channels() -> None:
    async with echo_port() as port, serving() as server:
        closed = names.free_port()
        socket = await WebSocketClient.connect(server.url(PortForward(POD, (port, closed))), V4)
        messages = socket.messages()
        heads = {message[0]: message[1:] for message in [await anext(messages) for _ in range(4)]}
        assert heads == {n: struct.pack("<H", (port, closed)[n // 2]) for n in range(4)}
        await socket.send(b"\x00hello")
        found = {message[0]: message[1:] for message in [await anext(messages) for _ in range(2)]}
        assert found[0] == b"hello"
        assert b"refused" in found[3]
        await socket.close()
        while len(server):
            await asyncio.sleep(0.001)


async def test_channels_need_ports() -> None:
    async with serving() as server:
        with pytest.raises(ConnectionRefusedError):
            await WebSocketClient.connect(server.url(PortForward(POD)), V4)
