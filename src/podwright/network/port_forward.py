"""Connections to the loopback of a network namespace, carried to a client: no program is needed there or here.

A socket belongs for good to the namespace of the thread that made it, so only that moment needs a thread of its own.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from podwright.base.errors import InvalidArgument, Unavailable
from podwright.base.streams import Reader, Writer
from podwright.base.tasks import gather_all
from podwright.network.namespaces import run_in_netns

_CHUNK_BYTES = 64 * 1024
_CONNECT_TIMEOUT_S = 10.0
LOOPBACK = ("127.0.0.1", "::1")


async def forward_port(
    netns: Path | None, port: int, *, incoming: Reader, outgoing: Writer, addresses: Sequence[str] = LOOPBACK
) -> None:
    """One connection to a port in the namespace pinned at `netns` (None: the host's), until both directions have ended.

    `addresses` are tried in turn.
    Raises InvalidArgument, Unavailable when nobody listens, FailedPrecondition when there is no such namespace,
    ConnectionError when the client goes away. A server that breaks the connection off has ended it.
    """
    if not 0 < port < 65536:
        raise InvalidArgument(f"{port} is not a port", field="port")
    connection = await _connect(netns, addresses, port)
    try:
        await gather_all(_upload(incoming, connection), _download(connection, outgoing), name="port forward")
    finally:
        connection.close()


async def _connect(netns: Path | None, addresses: Sequence[str], port: int) -> socket.socket:
    """As a program in there would reach the port by the name localhost."""
    problem = OSError()
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            connection = await _socket(netns, family)
        except OSError:  # a kernel without IPv6
            continue
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                await asyncio.get_running_loop().sock_connect(connection, (address, port))
            return connection
        except BaseException as error:
            connection.close()
            if isinstance(error, TimeoutError):
                raise Unavailable(f"who listens on {address} does not accept connections") from None
            if not isinstance(error, OSError):
                raise
            problem = problem if problem.errno else error
    where = " or ".join(f"[{address}]" if ":" in address else address for address in addresses)
    raise Unavailable(f"nobody listens on {where}: {os.strerror(problem.errno or 0)}") from problem


async def _socket(netns: Path | None, family: int) -> socket.socket:
    make = partial(socket.socket, family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    if netns is None:
        return make()
    return await run_in_netns(netns, make)


async def _upload(incoming: Reader, connection: socket.socket) -> None:
    loop, taken = asyncio.get_running_loop(), True
    while data := await incoming.read():
        try:
            if taken:
                await loop.sock_sendall(connection, data)
        except OSError:
            taken = False  # the server reads no more; the client's end is still to come
    try:
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        return  # the server has ended the connection


async def _download(connection: socket.socket, outgoing: Writer) -> None:
    loop = asyncio.get_running_loop()
    while data := await _receive(loop, connection):
        await outgoing.write(data)
        await asyncio.sleep(0)  # neither side has to wait for the other: let others have their turn
    await outgoing.close()


async def _receive(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> bytes:
    try:
        return await loop.sock_recv(connection, _CHUNK_BYTES)
    except OSError:
        return b""
