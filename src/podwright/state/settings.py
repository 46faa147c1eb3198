"""Where the daemon keeps what it owns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """`[state]`"""

    root: Path = field(
        default=Path("/var/lib/podwright"),
        metadata={"help": "Images, container file systems and the database. One daemon a root."},
    )
    run: Path = field(
        default=Path("/run/podwright"),
        metadata={"help": "What a boot clears: pinned namespaces, bundles, pod files. Should be on a tmpfs."},
    )
