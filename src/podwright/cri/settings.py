"""Settings of the CRI server."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """`[server]`"""

    socket: Path = field(
        default=Path("/run/podwright/podwright.sock"),
        metadata={"help": "The unix socket the kubelet and crictl connect to; made with mode 0660."},
    )
    max_receive_bytes: int = field(
        default=16 * 1024 * 1024,
        metadata={"help": "The largest request that is accepted, in bytes.", "min": 65536, "max": 2**31 - 1},
    )
    max_send_bytes: int = field(
        default=80 * 1024 * 1024,
        metadata={
            "help": "The largest answer, in bytes. The kubelet itself accepts 16 MiB; crictl more.",
            "min": 65536,
            "max": 2**31 - 1,
        },
    )
    max_unread_events: int = field(
        default=1024,
        metadata={
            "help": "How many events a client of GetContainerEvents may leave unread before it is cut off.\n"
            "Starting a hundred pods at once makes about a thousand.",
            "min": 1,
        },
    )
    shutdown_grace_s: float = field(
        default=5.0, metadata={"help": "How long calls may still run after a signal to stop, in seconds.", "min": 0}
    )
