"""Port-forward: each pair of streams, one for data and one for an error's text, is one connection to a port of the pod.

Over SPDY (plain, or tunnelled through WebSocket, which is what kubectl and crictl do with WebSocket) a pair shares a
`requestid` and names its port; over WebSocket channels each port of the request has two channels, which begin with the
port's number. Source: kubernetes, client-go/tools/portforward and KEP-4006.
"""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass
from functools import partial

from podwright.base.errors import PodwrightError
from podwright.base.log import get_logger
from podwright.base.streams import Reader, Writer
from podwright.base.tasks import Tasks, gather_all
from podwright.streaming.base import PortForward, StreamingBackend
from podwright.streaming.inbox import Inbox
from podwright.streaming.remotecommand import until_lost
from podwright.streaming.spdy import SpdyConnection, SpdyStream
from podwright.streaming.transport import ByteStream
from podwright.streaming.websocket import Channels, ChannelWriter, WebSocket
from podwright.wire import channels as wire
from podwright.wire.portforward import DATA, PORT_HEADER, REQUEST_ID_HEADER
from podwright.wire.remotecommand import ERROR, STREAM_TYPE_HEADER

log = get_logger(__name__)

CHANNEL_PROTOCOLS = (wire.V4, wire.V4_BASE64, "")


@dataclass
class _Pair:
    """Streams with one request id, as far as they have come."""

    give_up: asyncio.TimerHandle
    data: SpdyStream | None = None
    error: SpdyStream | None = None


class SpdyForwarder:
    """The port-forwards of one SPDY connection, as many at once as the client wants."""

    def __init__(
        self, transport: ByteStream, request: PortForward, backend: StreamingBackend, *, creation_timeout_s: float
    ) -> None:
        self._sandbox_id, self._backend, self._creation_timeout_s = request.sandbox_id, backend, creation_timeout_s
        self._connection = SpdyConnection(transport, opened=self._stream_opened)
        self._pairs: dict[str, _Pair] = {}
        self._tasks = Tasks("port-forward")

    async def serve(self) -> None:
        """Forward until the client ends the connection; what is forwarded then ends with it."""
        try:
            await self._connection.run()
        finally:
            await self._tasks.close()

    def _stream_opened(self, stream: SpdyStream) -> bool:
        kind = stream.headers.get(STREAM_TYPE_HEADER, "")
        if kind not in (DATA, ERROR) or _port(stream) is None:
            return False
        key = _request_id(stream, kind)
        pair = self._pairs.get(key)
        if pair is None:
            later = asyncio.get_running_loop().call_later(self._creation_timeout_s, self._give_up, key)
            pair = self._pairs[key] = _Pair(later)
        if getattr(pair, kind) is not None:
            return False
        setattr(pair, kind, stream)
        stream.when_gone = partial(self._forget, key)
        if pair.data is not None and pair.error is not None:
            self._forget(key)
            self._start(pair.data, pair.error)
        return True

    def _forget(self, key: str) -> None:
        self._pairs.pop(key).give_up.cancel()

    def _give_up(self, key: str) -> None:
        """Half of a pair has stayed alone."""
        pair = self._pairs.pop(key)
        for stream in (pair.data, pair.error):
            if stream is not None:
                stream.when_gone = _nothing
                self._tasks.start(stream.reset(), name="give up")

    def _start(self, data: SpdyStream, error: SpdyStream) -> None:
        forwarding = self._tasks.start(self._forward(data, error), name=f"port {data.headers[PORT_HEADER]}")
        # The client's side of the connection is gone, and the pod's side might be silent for ever.
        data.when_gone = forwarding.cancel
        error.when_gone = _nothing

    async def _forward(self, data: SpdyStream, error: SpdyStream) -> None:
        port = _port(data)
        assert port is not None
        try:
            problem = await _forward(self._backend, self._sandbox_id, port, data, data)
            if problem:
                await error.write(problem.encode())
        except ConnectionError:
            pass  # the client has left
        finally:
            await data.close()
            await error.close()
            # What the client still sends has nowhere to go, and must not stop its other connections.
            data.inbox.discard()
            error.inbox.discard()


async def serve_channels(socket: WebSocket, protocol: str, request: PortForward, backend: StreamingBackend) -> None:
    """Forward the ports that the request names, one connection each, until all have ended or the client leaves."""
    tasks = Tasks("port-forward")
    inboxes = {2 * at: Inbox() for at in range(len(request.ports))}
    try:
        reading = tasks.start(Channels(socket, protocol, inboxes).run(), name="read")
        forwards = [
            _forward_channels(
                backend, request.sandbox_id, port, inboxes[2 * at],
                ChannelWriter(socket, 2 * at, protocol), ChannelWriter(socket, 2 * at + 1, protocol),
            )
            for at, port in enumerate(request.ports)
        ]  # fmt: skip
        await until_lost(gather_all(*forwards), reading)
        await socket.close()
        await asyncio.wait([reading], timeout=10)
    except ConnectionError:
        pass  # the client has left
    finally:
        await tasks.close()


async def _forward_channels(
    backend: StreamingBackend, sandbox_id: str, port: int, incoming: Inbox, data: Writer, error: Writer
) -> None:
    head = struct.pack("<H", port)
    await data.write(head)
    await error.write(head)
    problem = await _forward(backend, sandbox_id, port, incoming, data)
    incoming.discard()
    if problem:
        await error.write(problem.encode())


async def _forward(backend: StreamingBackend, sandbox_id: str, port: int, incoming: Reader, outgoing: Writer) -> str:
    """Forward one connection to its end; gives the text for the error stream, "" for none."""
    try:
        await backend.port_forward(sandbox_id, port, incoming=incoming, outgoing=outgoing)
    except ConnectionError:
        # The client has reset the data stream, as client-go does as soon as the pod's side has ended. A text here
        # would make it give up all of its connections.
        return ""
    except (PodwrightError, OSError) as error:
        log.info("a forwarded connection failed", port=port, error=str(error))
        return f"port {port} of pod {sandbox_id[:13]}: {error}"
    return ""


def _nothing() -> None:
    """A stream whose end changes nothing."""


def _port(stream: SpdyStream) -> int | None:
    text = stream.headers.get(PORT_HEADER, "")
    port = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0
    return port if 0 < port < 65536 else None


def _request_id(stream: SpdyStream, kind: str) -> str:
    """Clients before Kubernetes 1.2 gave none, but opened the error stream, then the data stream."""
    given = stream.headers.get(REQUEST_ID_HEADER, "")
    return given or f"stream {stream.id if kind == ERROR else stream.id - 2}"
