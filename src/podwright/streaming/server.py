"""The streaming server: gives out URLs, and serves each of them once."""

from __future__ import annotations

import asyncio
import socket
import ssl
from http import HTTPStatus

from podwright.base.errors import FailedPrecondition
from podwright.base.log import get_logger, log_context
from podwright.base.tasks import Tasks
from podwright.streaming import portforward, remotecommand, upgrade
from podwright.streaming.base import Attach, Exec, PortForward, Request, StreamingBackend
from podwright.streaming.carriers import WEBSOCKET_PROTOCOLS, Carrier, SpdyCarrier, WebSocketCarrier
from podwright.streaming.http import HttpError, HttpRequest, answer_error, read_request
from podwright.streaming.settings import Settings
from podwright.streaming.tokens import Tokens
from podwright.streaming.transport import Transport
from podwright.streaming.websocket import Tunnel
from podwright.wire import portforward as wire
from podwright.wire import spdy
from podwright.wire.remotecommand import SPDY_PROTOCOLS

log = get_logger(__name__)

_PATHS: dict[type[Request], str] = {Exec: "exec", Attach: "attach", PortForward: "portforward"}
# Connections that have shown no token yet: anybody on the node can make some, and descriptors are finite.
_STRANGER_LIMIT = 128


class StreamingServer:
    """One listening socket. `start` and `stop` bracket its life; connections end with it."""

    def __init__(self, settings: Settings, backend: StreamingBackend) -> None:
        self._settings, self._backend = settings, backend
        self._tokens = Tokens(settings.max_tokens, settings.token_lifetime_s)
        self._tasks = Tasks("streaming")
        self._strangers = 0
        self._server: asyncio.Server | None = None
        self._base_url = ""

    def __len__(self) -> int:
        """How many connections there are."""
        return len(self._tasks)

    async def start(self) -> None:
        """Listen. Raises FailedPrecondition when that can't be, with the setting's name."""
        settings = self._settings
        context = _tls_context(settings)
        try:
            self._server = await asyncio.start_server(
                self._accept, settings.address, settings.port, backlog=_STRANGER_LIMIT,
                ssl=context, ssl_handshake_timeout=settings.creation_timeout_s if context else None,
            )  # fmt: skip
        except (OSError, OverflowError) as error:
            raise FailedPrecondition(
                f"streaming.address, streaming.port: can't listen on {settings.address}:{settings.port}: {error}"
            ) from error
        listening = self._server.sockets[0]
        self._base_url = f"{'https' if context else 'http'}://{_reachable(listening)}"
        log.info("serving exec, attach and port-forward", url=self._base_url)

    async def stop(self) -> None:
        """Stop listening, and end all connections."""
        if self._server is not None:
            self._server.close()
        await self._tasks.close()

    def url(self, request: Request) -> str:
        """A URL that serves `request`, once and soon. Raises ResourceExhausted when too many wait for their clients."""
        if not self._base_url:
            raise FailedPrecondition("the streaming server is not running")
        return f"{self._base_url}/{_PATHS[type(request)]}/{self._tokens.issue(request)}"

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._strangers >= _STRANGER_LIMIT:
            log.debug("too many connections without a request; refusing one", limit=_STRANGER_LIMIT)
            writer.transport.abort()
            return
        self._strangers += 1
        transport = Transport(reader, writer, self._settings.idle_timeout_s)
        self._tasks.start(self._serve(transport), name="connection")

    async def _serve(self, transport: Transport) -> None:
        try:
            await self._answer(transport)
        except HttpError as error:
            log.info("a request for a stream is refused", status=int(error.status), error=str(error))
            await _quietly_answer(transport, error)
        except (ConnectionError, TimeoutError) as error:
            log.debug("a streaming client left", error=str(error))
        except asyncio.CancelledError:
            transport.abort()
            raise
        finally:
            await transport.close()

    async def _answer(self, transport: Transport) -> None:
        try:
            async with asyncio.timeout(self._settings.creation_timeout_s):
                http = await read_request(transport, self._settings.max_header_bytes)
        finally:
            self._strangers -= 1
        request = self._redeem(http)
        target = request.sandbox_id if isinstance(request, PortForward) else request.container_id
        with log_context(verb=_PATHS[type(request)], target=target[:13]):
            if isinstance(request, PortForward):
                await self._forward(transport, http, request)
            else:
                await self._remote_command(transport, http, request)

    def _redeem(self, http: HttpRequest) -> Request:
        if http.method not in ("GET", "POST"):
            raise HttpError(HTTPStatus.METHOD_NOT_ALLOWED, "use GET or POST", [(b"Allow", b"GET, POST")])
        path = http.target.partition("?")[0]
        _, _, token = path.rpartition("/")
        request = self._tokens.redeem(token)
        if request is None or path != f"/{_PATHS[type(request)]}/{token}":
            raise HttpError(HTTPStatus.NOT_FOUND, "no such stream: its URL has expired, or has been used")
        return request

    async def _remote_command(self, transport: Transport, http: HttpRequest, request: Exec | Attach) -> None:
        carrier: Carrier
        if http.upgrades_to("websocket"):
            websocket, protocol = await upgrade.to_websocket(transport, http, WEBSOCKET_PROTOCOLS)
            carrier = WebSocketCarrier(websocket, protocol, request.wanted)
        else:
            protocol = await upgrade.to_spdy(transport, _require_spdy(http), SPDY_PROTOCOLS)
            carrier = SpdyCarrier(transport, protocol, request.wanted)
        await remotecommand.serve(carrier, request, self._backend, creation_timeout_s=self._settings.creation_timeout_s)

    async def _forward(self, transport: Transport, http: HttpRequest, request: PortForward) -> None:
        if not http.upgrades_to("websocket"):
            await upgrade.to_spdy(transport, _require_spdy(http), [wire.PROTOCOL])
            await self._forward_spdy(transport, request)
            return
        offered = [wire.TUNNEL_PROTOCOL, *(portforward.CHANNEL_PROTOCOLS if request.ports else ())]
        websocket, protocol = await upgrade.to_websocket(transport, http, offered)
        if protocol == wire.TUNNEL_PROTOCOL:
            await self._forward_spdy(Tunnel(websocket), request)
        else:
            await portforward.serve_channels(websocket, protocol, request, self._backend)

    async def _forward_spdy(self, transport: Transport | Tunnel, request: PortForward) -> None:
        timeout_s = self._settings.creation_timeout_s
        await portforward.SpdyForwarder(transport, request, self._backend, creation_timeout_s=timeout_s).serve()


def _require_spdy(http: HttpRequest) -> HttpRequest:
    if not http.upgrades_to(spdy.UPGRADE.lower()):
        raise HttpError(HTTPStatus.BAD_REQUEST, f"ask for an upgrade to {spdy.UPGRADE} or websocket")
    return http


async def _quietly_answer(transport: Transport, error: HttpError) -> None:
    try:
        await answer_error(transport, error)
    except ConnectionError:
        pass  # it didn't wait for the answer


def _tls_context(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls_certificate is None and settings.tls_key is None:
        return None
    if settings.tls_certificate is None or settings.tls_key is None:
        raise FailedPrecondition("streaming.tls_certificate and streaming.tls_key: give both, or neither")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    except (OSError, ValueError) as error:
        raise FailedPrecondition(
            f"streaming.tls_certificate, streaming.tls_key: can't use {settings.tls_certificate} with"
            f" {settings.tls_key}: {error}"
        ) from error
    return context


def _reachable(listening: socket.socket) -> str:
    """host:port for a URL. The kubelet is on this node, so loopback will do where all addresses are listened on."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
