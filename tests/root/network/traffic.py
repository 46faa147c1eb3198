"""Servers in pods that tell who they think is asking, and clients anywhere: one word over TCP, UDP or raw SCTP."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from podwright.network.namespaces import run_in_netns

T = TypeVar("T")
TIMEOUT_S = 5.0


async def inside(netns: Path | None, make: Callable[[], T]) -> T:
    """`make()` in a namespace; None: the host's."""
    return make() if netns is None else await run_in_netns(netns, make)


@asynccontextmanager
async def tcp_server(netns: Path | None, port: int) -> AsyncIterator[None]:
    """Answers each connection with the address it comes from."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(writer.get_extra_info("peername")[0].encode())
        writer.close()
        await writer.wait_closed()

    listening = await inside(
        netns, lambda: socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    )
    server = await asyncio.start_server(answer, sock=listening)
    try:
        yield
    finally:
        server.close()


class _Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport  # of asyncio's private kind

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(addr[0].encode(), addr)


@asynccontextmanager
async def udp_server(netns: Path | None, port: int, family: int = socket.AF_INET) -> AsyncIterator[None]:
    """Answers each datagram with the address it comes from."""

    def make() -> socket.socket:
        made = socket.socket(family, socket.SOCK_DGRAM)
        made.bind(("", port))
        return made

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(_Echo, sock=await inside(netns, make))
    try:
        yield
    finally:
        transport.close()


async def ask_tcp(address: str, port: int, netns: Path | None = None) -> str:
    """How the server at `address` sees us."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    client = await inside(netns, lambda: socket.socket(family))
    client.setblocking(False)
    async with asyncio.timeout(TIMEOUT_S):
        await asyncio.get_running_loop().sock_connect(client, (address, port))
        reader, writer = await asyncio.open_connection(sock=client)
        try:
            return (await reader.read(100)).decode().removeprefix("::ffff:")
        finally:
            writer.close()
            await writer.wait_closed()


@asynccontextmanager
async def udp_client(netns: Path | None = None, family: int = socket.AF_INET) -> AsyncIterator[socket.socket]:
    """A socket to ask with; several questions from one are one flow."""
    client = await inside(netns, lambda: socket.socket(family, socket.SOCK_DGRAM))
    client.setblocking(False)
    with client:
        yield client


async def ask_udp(client: socket.socket, address: str, port: int, *, timeout_s: float = TIMEOUT_S) -> str:
    """How the server sees us. Raises TimeoutError, or ConnectionRefusedError for a connected socket."""
    loop = asyncio.get_running_loop()
    client.sendto(b"who am I?", (address, port))
    async with asyncio.timeout(timeout_s):
        return (await loop.sock_recv(client, 100)).decode()


def sctp_init(source_port: int, port: int) -> bytes:
    """An SCTP packet with one INIT chunk and the checksum that connection tracking insists on. RFC 9260, 3."""
    chunk = struct.pack("!BBHIIHHI", 1, 0, 20, 0x12345678, 65536, 1, 1, 1)
    header = struct.pack("!HHI", source_port, port, 0)
    checksum = struct.pack("<I", crc32c(header + b"\0" * 4 + chunk))
    return header + checksum + chunk


def crc32c(data: bytes) -> int:
    """RFC 9260, Appendix A"""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


async def raw_sctp(netns: Path | None) -> socket.socket:
    """A socket that gets every SCTP packet that comes in, with its IP header; raw(7)."""
    made = await inside(netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_SCTP))
    made.setblocking(False)
    return made


async def receive_sctp(receiver: socket.socket) -> tuple[str, int]:
    """Source address and destination port of the next packet."""
    async with asyncio.timeout(TIMEOUT_S):
        packet = await asyncio.get_running_loop().sock_recv(receiver, 2000)
    start = (packet[0] & 15) * 4
    (port,) = struct.unpack_from("!H", packet, start + 2)
    return str(ipaddress.ip_address(packet[12:16])), port
