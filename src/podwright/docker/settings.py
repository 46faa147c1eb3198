"""Settings of the Docker Engine backend."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """`[docker]`"""

    socket: Path = field(default=Path("/run/docker.sock"), metadata={"help": "Where the engine listens."})
    start_timeout_s: float = field(
        default=60.0,
        metadata={"help": "How long a start waits for an engine that does not answer yet, in seconds.", "min": 0},
    )
    engine_log_max_bytes: int = field(
        default=128 * 1024 * 1024,
        metadata={
            "help": "How much of a container's output Docker keeps for us, two times (json-file, max-size). What is\n"
            "written beyond that while Podwright is not running is lost.",
            "min": 1024 * 1024,
        },
    )
    log_drain_timeout_s: float = field(
        default=10.0,
        metadata={"help": "How long the end of a container may wait for the rest of its output, in seconds.", "min": 0},
    )
