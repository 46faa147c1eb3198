"""Settings of log and metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


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
        metadata={"help": "HOST:PORT on which Prometheus metrics are served at /metrics; empty: not served."},
    )
