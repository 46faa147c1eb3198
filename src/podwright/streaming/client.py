"""The client's side, for the command line: any CRI runtime's streaming URLs, over SPDY, which all of them serve."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import SplitResult, urlsplit

import h11

from podwright.base.errors import InvalidArgument, Unavailable
from podwright.base.streams import ProcessStreams, Reader, TerminalSize, Writer
from podwright.base.tasks import Tasks, gather_all
from podwright.streaming.base import Wanted, stream_names
from podwright.streaming.spdy import SpdyConnection, SpdyStream
from podwright.streaming.transport import Transport
from podwright.wire import portforward, spdy
from podwright.wire.remotecommand import (
    ERROR,
    RESIZE,
    STDERR,
    STDIN,
    STDOUT,
    STREAM_TYPE_HEADER,
    Outcome,
    decode_outcome,
    encode_size,
)

_CONNECT_TIMEOUT_S = 30.0
_ERROR_LIMIT_BYTES = 64 * 1024
_V4 = "v4.channel.k8s.io"


@asynccontextmanager
async def dial(url: str, protocol: str) -> AsyncIterator[SpdyConnection]:
    """A SPDY connection to a streaming URL, read from while the block runs. Raises Unavailable, InvalidArgument."""
    tasks = Tasks("streaming client")
    transport = await _connect(_parse(url))
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            await _upgrade(transport, urlsplit(url), protocol)
        connection = SpdyConnection(transport, client=True)
        tasks.start(connection.run(), name="read")
        yield connection
    except TimeoutError as error:
        raise Unavailable(f"{url}: no answer within {_CONNECT_TIMEOUT_S:g} s") from error
    finally:
        transport.abort()
        await tasks.close()


async def remote_command(url: str, wanted: Wanted, streams: ProcessStreams) -> Outcome:
    """Exec or attach: connect `streams` to those of the URL until its process ends. Raises Unavailable."""
    tasks = Tasks("remote command")
    try:
        async with dial(url, _V4) as connection:
            opened = {name: await connection.open({STREAM_TYPE_HEADER: name}) for name in stream_names(wanted)}
            if STDIN in opened and streams.stdin is not None:
                tasks.start(_copy_input(streams.stdin, opened[STDIN]), name="stdin")
            if RESIZE in opened and streams.sizes is not None:
                tasks.start(_send_sizes(streams.sizes, opened[RESIZE]), name="sizes")
            receiving: list[Coroutine[Any, Any, bytes | None]] = [_read_all(opened[ERROR])]
            for name, sink in ((STDOUT, streams.stdout), (STDERR, streams.stderr)):
                if sink is not None and name in opened:
                    receiving.append(_copy_output(opened[name], sink))
            message, *_ = await gather_all(*receiving, name="output")
            if not message:
                raise Unavailable("the connection ended before the command's exit status came")
            return decode_outcome(message)
    except BrokenPipeError:
        raise  # of a sink: whoever reads our output has left
    except ConnectionError as error:
        raise Unavailable(f"the connection to the runtime is lost: {error}") from error
    finally:
        await tasks.close()


class PortForwarder:
    """Forwards connections over one SPDY connection."""

    def __init__(self, connection: SpdyConnection) -> None:
        self._connection = connection
        self._requests = 0

    async def forward(self, port: int, incoming: Reader, outgoing: Writer) -> None:
        """One connection to `port` of the pod, until the pod's side ends it. Raises Unavailable with its reason."""
        headers = {portforward.PORT_HEADER: str(port), portforward.REQUEST_ID_HEADER: str(self._requests)}
        self._requests += 1
        tasks = Tasks("forward")
        try:
            error = await self._connection.open({STREAM_TYPE_HEADER: ERROR, **headers})
            await error.close()
            data = await self._connection.open({STREAM_TYPE_HEADER: portforward.DATA, **headers})
            tasks.start(_copy_input(incoming, data), name="to the pod")
            try:
                await _copy_output(data, outgoing)
            finally:
                # What is still on its way to the pod must not stop the other connections.
                await data.reset()
            if problem := await _read_all(error):
                raise Unavailable(problem.decode(errors="replace").strip())
        finally:
            await tasks.close()


async def _copy_input(source: Reader, stream: SpdyStream) -> None:
    try:
        while data := await source.read():
            await stream.write(data)
        await stream.close()
    except ConnectionError:
        return  # the other side has ended, which its outcome tells


async def _copy_output(stream: SpdyStream, sink: Writer) -> None:
    try:
        while data := await _read_or_end(stream):
            await sink.write(data)
    finally:
        stream.inbox.discard()
    await sink.close()


async def _send_sizes(sizes: AsyncIterator[TerminalSize], stream: SpdyStream) -> None:
    try:
        async for size in sizes:
            await stream.write(encode_size(size))
    except ConnectionError:
        return


async def _read_all(stream: SpdyStream) -> bytes:
    found = b""
    while data := await _read_or_end(stream):
        found = (found + data)[:_ERROR_LIMIT_BYTES]
    return found


async def _read_or_end(stream: SpdyStream) -> bytes:
    """Servers end a stream by closing or resetting it, or with the connection; the outcome tells which was meant."""
    try:
        return await stream.read()
    except ConnectionError:
        return b""


def _parse(url: str) -> SplitResult:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidArgument(f"the runtime returned {url!r}, which is not an http or https URL of a host")
    return parts


async def _connect(parts: SplitResult) -> Transport:
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    context = _tls_context(host) if parts.scheme == "https" else None
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
    except (OSError, TimeoutError) as error:
        raise Unavailable(f"can't connect to the runtime's streaming server at {host}:{port}: {error}") from error
    # No idle time-out of our own: the server has one.
    return Transport(reader, writer, idle_timeout_s=365 * 86400.0)


def _tls_context(host: str) -> ssl.SSLContext:
    """Certificates are checked unless the server is on this node: runtimes make their own there, and the URL came
    over a socket that only root can serve."""
    context = ssl.create_default_context()
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if local:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def _upgrade(transport: Transport, parts: SplitResult, protocol: str) -> None:
    wire = h11.Connection(h11.CLIENT)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {
        "Host": parts.netloc, "Connection": "Upgrade", "Upgrade": spdy.UPGRADE,
        spdy.SUBPROTOCOL_HEADER: protocol, "Content-Length": "0",
    }  # fmt: skip
    head = wire.send(h11.Request(method="POST", target=target, headers=list(headers.items()))) or b""
    await transport.write(head + (wire.send(h11.EndOfMessage()) or b""))
    await _expect_switch(transport, wire)


async def _expect_switch(transport: Transport, wire: h11.Connection) -> None:
    status, body = 0, b""
    while True:
        try:
            event = wire.next_event()
        except h11.RemoteProtocolError as error:
            raise Unavailable(f"the streaming server's answer is not HTTP: {error}") from error
        if event is h11.NEED_DATA:
            wire.receive_data(await transport.read())
        elif isinstance(event, h11.InformationalResponse) and event.status_code == 101:
            transport.unread(wire.trailing_data[0])
            return
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body = (body + event.data)[:_ERROR_LIMIT_BYTES]
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
            raise Unavailable(
                f"the streaming server answered {status}: {body.decode(errors='replace').strip() or 'nothing'}"
            )
