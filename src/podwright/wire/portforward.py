"""The words of port-forward: its subprotocols, and the headers of its SPDY streams. Source: kubernetes,
client-go/tools/portforward."""

from __future__ import annotations

PROTOCOL = "portforward.k8s.io"
TUNNEL_PROTOCOL = "SPDY/3.1+" + PROTOCOL
"""A WebSocket subprotocol: its binary messages are the bytes of a SPDY connection (KEP-4006)."""

DATA = "data"
PORT_HEADER, REQUEST_ID_HEADER = "port", "requestid"
