"""SPDY/3.1 as Kubernetes speaks it: what carries the streams of exec, attach and port-forward.

Source: the SPDY protocol draft 3.1 (chromium.org/spdy), narrowed to what moby/spdystream, the only peer there is, does:
it ignores SETTINGS and WINDOW_UPDATE and never sends either, so nobody has a window, and a receiver that has enough
stops reading the connection (docs/decisions/0014-spdy-without-windows.md). Data before the SYN_REPLY is dropped by it,
so whoever opens a stream waits for the reply.

    frames       bytes ⇄ frames, DATA in pieces as it arrives
    headers      name/value blocks, compressed by one zlib stream a direction
    connection   frames ⇄ events of streams; either role
"""

from podwright.wire.spdy.connection import (
    Connection,
    DataReceived,
    Event,
    GoneAway,
    ReplyReceived,
    StreamEnded,
    StreamOpened,
    StreamReset,
)
from podwright.wire.spdy.frames import SpdyError, Status

UPGRADE = "SPDY/3.1"
"""What HTTP's Upgrade header calls it."""
SUBPROTOCOL_HEADER = "X-Stream-Protocol-Version"
"""The header of request and answer that names what the streams mean."""

__all__ = [
    "SUBPROTOCOL_HEADER",
    "UPGRADE",
    "Connection",
    "DataReceived",
    "Event",
    "GoneAway",
    "ReplyReceived",
    "SpdyError",
    "Status",
    "StreamEnded",
    "StreamOpened",
    "StreamReset",
]
