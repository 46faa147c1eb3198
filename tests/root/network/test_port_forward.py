"""Connections to servers inside a pinned network namespace."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from podwright.base.errors import FailedPrecondition, InvalidArgument, Unavailable
from podwright.base.tasks import Tasks
from podwright.network import namespaces
from podwright.network.port_forward import forward_port
from tests.support.streams import Keyboard, Screen

pytestmark = pytest.mark.root

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def netns(tmp_path: Path) -> AsyncIterator[Path]:
    path = tmp_path / "netns"
    await namespaces.pin({"net": path})
    yield path
    namespaces.unpin([path])


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    owner = Tasks("test")
    yield owner
    await owner.close()


async def _server(netns: Path | None, serve: Serve, *, host: str = "127.0.0.1") -> tuple[asyncio.Server, int]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET

    def listen() -> socket.socket:
        return socket.create_server((host, 0), family=family)

    listening = await namespaces.run_in_netns(netns, listen) if netns else listen()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(reader, writer)
        writer.close()
        try:
            await writer.wait_closed()
        except ConnectionError:
            pass

    return await asyncio.start_server(connected, sock=listening), listening.getsockname()[1]


async def _echo_to_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers only after the client's end: what half-close is for."""
    writer.write(b"all: " + await reader.read(-1))
    await writer.drain()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_both_loopbacks_and_half_close(netns: Path, host: str) -> None:
    server, port = await _server(netns, _echo_to_the_end, host=host)
    async with server:
        screen = Screen()
        await forward_port(netns, port, incoming=Keyboard(b"one ", b"two", closed=True), outgoing=screen)
    assert (screen.text, screen.closed) == (b"all: one two", True)


async def test_the_hosts_own_ports() -> None:
    server, port = await _server(None, _echo_to_the_end)
    async with server:
        screen = Screen()
        await forward_port(None, port, incoming=Keyboard(b"x", closed=True), outgoing=screen)
        assert screen.text == b"all: x"


async def test_megabytes_both_ways(netns: Path) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()

    server, port = await _server(netns, echo)
    block = os.urandom(64 * 1024)
    async with server:
        screen = Screen()
        await forward_port(netns, port, incoming=Keyboard(*[block] * 64, closed=True), outgoing=screen)
    assert screen.text == block * 64


async def test_nobody_listens(netns: Path) -> None:
    with pytest.raises(Unavailable, match=r"nobody listens on 127\.0\.0\.1 or \[::1\]: Connection refused"):
        await forward_port(netns, 9, incoming=Keyboard(), outgoing=Screen())


@pytest.mark.parametrize("port", [0, -1, 65536])
async def test_what_is_no_port(netns: Path, port: int) -> None:
    with pytest.raises(InvalidArgument):
        await forward_port(netns, port, incoming=Keyboard(), outgoing=Screen())


async def test_a_namespace_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition):
        await forward_port(tmp_path / "none", 80, incoming=Keyboard(), outgoing=Screen())


async def test_a_server_that_breaks_off_has_ended(netns: Path) -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    server, port = await _server(netns, reset)
    async with server:
        screen = Screen()
        await forward_port(netns, port, incoming=Keyboard(b"x", closed=True), outgoing=screen)
    assert (screen.text, screen.closed) == (b"", True)


async def test_the_client_goes_away(netns: Path) -> None:
    gone = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        gone.set()

    server, port = await _server(netns, wait)
    async with server:
        keyboard = Keyboard(b"x")
        keyboard.break_off()
        with pytest.raises(ConnectionError):
            await forward_port(netns, port, incoming=keyboard, outgoing=Screen())
        async with asyncio.timeout(10):
            await gone.wait()


async def test_a_slow_client_makes_the_server_wait(netns: Path, tasks: Tasks) -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        for _ in range(400):
            writer.write(bytes(64 * 1024))
            await writer.drain()
            sent += 1

    server, port = await _server(netns, flood)
    async with server:
        screen = Screen()
        screen.freeze()
        running = tasks.start(forward_port(netns, port, incoming=Keyboard(closed=True), outgoing=screen), name="f")
        await screen.is_offered_something()
        before = -1
        while sent != before:  # until the kernel's buffers are full
            before = sent
            await asyncio.sleep(0.1)
        assert sent < 400
        screen.thaw()
        await running
    assert len(screen.text) == 400 * 64 * 1024


async def test_other_addresses_than_the_loopbacks() -> None:
    server, port = await _server(None, _echo_to_the_end, host="127.0.0.2")
    async with server:
        screen = Screen()
        keyboard = Keyboard(b"x", closed=True)
        await forward_port(None, port, incoming=keyboard, outgoing=screen, addresses=("127.0.0.3", "127.0.0.2"))
    assert screen.text == b"all: x"
