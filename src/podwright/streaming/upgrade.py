"""From an HTTP request to the protocol that carries its streams."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

import h11
from wsproto.connection import ConnectionType
from wsproto.events import AcceptConnection, Request
from wsproto.handshake import H11Handshake
from wsproto.utilities import RemoteProtocolError

from podwright.streaming.http import HttpError, HttpRequest, switch_protocols
from podwright.streaming.transport import Transport
from podwright.streaming.websocket import WebSocket
from podwright.wire import spdy

_ACCEPTED_HEADER = b"X-Accepted-Stream-Protocol-Versions"


async def to_spdy(transport: Transport, request: HttpRequest, offered: Sequence[str]) -> str:
    """Upgrade to SPDY with the first of the client's subprotocols that is `offered`. Raises HttpError."""
    asked = request.tokens(spdy.SUBPROTOCOL_HEADER)
    protocol = next((name for name in asked if name in offered), "")
    if not protocol:
        raise HttpError(
            HTTPStatus.FORBIDDEN, f"none of the subprotocols {asked} is served; served are {list(offered)}",
            [(_ACCEPTED_HEADER, name.encode()) for name in offered],
        )  # fmt: skip
    await switch_protocols(
        transport,
        [
            (b"Connection", b"Upgrade"),
            (b"Upgrade", spdy.UPGRADE.encode()),
            (spdy.SUBPROTOCOL_HEADER.encode(), protocol.encode()),
        ],
    )
    return protocol


async def to_websocket(transport: Transport, request: HttpRequest, offered: Sequence[str]) -> tuple[WebSocket, str]:
    """Upgrade to WebSocket with the first of the client's subprotocols that is `offered`. Raises HttpError.

    A client that names none gets "", where that is offered.
    """
    handshake = H11Handshake(ConnectionType.SERVER)
    try:
        handshake.initiate_upgrade_connection(list(request.headers), request.target)
        opening = next(event for event in handshake.events() if isinstance(event, Request))
    except (RemoteProtocolError, h11.ProtocolError, UnicodeError, StopIteration) as error:
        raise HttpError(HTTPStatus.BAD_REQUEST, f"bad WebSocket handshake: {error}") from None
    protocol = next((name for name in opening.subprotocols or [""] if name in offered), None)
    if protocol is None:
        raise HttpError(
            HTTPStatus.FORBIDDEN,
            f"none of the subprotocols {opening.subprotocols} is served; served are {list(offered)}",
        )
    await transport.write(handshake.send(AcceptConnection(subprotocol=protocol or None)))
    assert handshake.connection is not None
    return WebSocket(transport, handshake.connection), protocol
