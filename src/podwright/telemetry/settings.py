"""Settings of log and metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


def host_and_port(address: str) -> tuple[str, int]:
    """HOST:PORT, an IPv6 address in brackets. Raises ValueError."""
    host, _, port = address.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(f"must be HOST:PORT, not {address!r}")
    return host.strip("[]"), int(port)


@dataclass(frozen=True)
class Settings:
    """`[telemetry]`"""

    log_level: Literal["trace", "debug", "info", "warning", "error"] = field(
        default="info", metadata={"help": "The least level that is logged."}
    )
    log_format: Literal["text", "json"] = field(
        default="text", metadata={"help": "text for people, json for collectors (one object a line)."}
    )
    metrics_address: str = field(
        default="",
        metadata={
            "help": "HOST:PORT on which Prometheus metrics are served at /metrics; empty: not served.",
            "check": lambda text: text and host_and_port(text),
        },
    )
