"""`podwright port-forward`: ports of a pod as ports of ours."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import typer

from podwright.base.errors import InvalidArgument, PodwrightError, Unavailable
from podwright.base.tasks import Tasks
from podwright.cli.client import QUICK_S, connect
from podwright.cli.lookup import find_pod
from podwright.cli.options import Socket
from podwright.criapi import api_pb2 as pb
from podwright.streaming.client import PortForwarder, dial
from podwright.wire.portforward import PROTOCOL

_READ_BYTES = 64 * 1024
_LOCALHOST = ("127.0.0.1", "::1")


class Ports(NamedTuple):
    """A port of ours (0: any that is free) for a port of the pod."""

    local: int
    remote: int


def port_forward(
    ctx: typer.Context,
    pod: Annotated[str, typer.Argument(help="Id, prefix of an id, name, or NAMESPACE/NAME.")],
    ports: Annotated[list[str], typer.Argument(metavar="[LOCAL:]REMOTE...", help="Ports; `:80` takes any free one.")],
    *,
    address: Annotated[
        list[str] | None, typer.Option("--address", help="Address to listen on; the default is localhost.")
    ] = None,
    socket: Socket = None,
) -> None:
    """Make ports of a pod reachable on this machine, until interrupted."""
    pairs = [parse_ports(text) for text in ports]
    with connect(ctx, socket) as client:
        request = pb.PortForwardRequest(pod_sandbox_id=find_pod(client, pod).id)
        url = client.runtime.PortForward(request, timeout=QUICK_S).url
    asyncio.run(_forward(url, pairs, address or ()))


def parse_ports(text: str) -> Ports:
    """`8080:80`, `80` for the same on both sides, `:80` for any port of ours. Raises InvalidArgument."""
    local, colon, remote = text.rpartition(":")
    local = (local or "0") if colon else remote
    for word in (local, remote):
        if not (word.isascii() and word.isdigit() and int(word) <= 65535):
            raise InvalidArgument(f"{text!r} is not [LOCAL:]REMOTE with ports up to 65535", field="ports")
    if int(remote) == 0:
        raise InvalidArgument(f"{text!r}: a pod's port is at least 1", field="ports")
    return Ports(int(local), int(remote))


class LocalConnection:
    """Implements `base.streams.Reader` and `Writer` for a connection that somebody made to a port of ours."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self) -> bytes:
        return await self._reader.read(_READ_BYTES)

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        if self._writer.can_write_eof() and not self._writer.is_closing():
            self._writer.write_eof()


async def _forward(url: str, ports: Sequence[Ports], addresses: Sequence[str]) -> None:
    tasks, servers = Tasks("port-forward"), list[asyncio.Server]()
    try:
        async with dial(url, PROTOCOL) as connection:
            forwarder = PortForwarder(connection)
            for pair in ports:
                servers += await _listen(forwarder, pair, addresses, tasks)
            await connection.ended()
            raise Unavailable("the runtime has ended the connection")
    finally:
        for server in servers:
            server.close()
        await tasks.close()


async def _listen(
    forwarder: PortForwarder, ports: Ports, addresses: Sequence[str], tasks: Tasks
) -> list[asyncio.Server]:
    """Listen on every address; of localhost's two one is enough. Raises Unavailable."""

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.start(_carry(forwarder, ports.remote, reader, writer), name=f"port {ports.remote}")

    servers, local = list[asyncio.Server](), ports.local
    for address in addresses or _LOCALHOST:
        try:
            server = await asyncio.start_server(accept, address, local)
        except OSError as error:
            if servers and not addresses:
                continue  # no IPv6 here
            raise Unavailable(f"can't listen on {address}, port {local}: {error}") from error
        servers.append(server)
        local = server.sockets[0].getsockname()[1]
        sys.stdout.write(f"Forwarding {f'[{address}]' if ':' in address else address}:{local} -> {ports.remote}\n")
    sys.stdout.flush()
    return servers


async def _carry(
    forwarder: PortForwarder, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    local = LocalConnection(reader, writer)
    try:
        await forwarder.forward(port, local, local)
    except (PodwrightError, ConnectionError) as error:
        # Of this one connection: the next may be better.
        sys.stderr.write(f"podwright: {error}\n")
    finally:
        writer.close()
