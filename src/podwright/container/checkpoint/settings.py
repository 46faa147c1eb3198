"""Settings of checkpoints."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Settings:
    """`[checkpoint]`"""

    timeout_s: float = field(
        default=120.0,
        metadata={
            "help": "How long a checkpoint may take that comes without a time of its own, in seconds.",
            "above": 0,
        },
    )
    max_bytes: int = field(
        default=64 * 1024**3,
        metadata={
            "help": "The most that one container's archive may have, written or restored: memory and files.",
            "min": 1,
        },
    )
    restore: bool = field(
        default=False,
        metadata={
            "help": "Whether RestorePod is offered. The processes of a checkpoint come with whatever credentials it "
            "says:\nwho can write one that is restored is root on this machine."
        },
    )
