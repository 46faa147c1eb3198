"""From a RuntimeClass handler's name to a runtime with its settings; which runtime is the default, and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class HandlerSettings:
    """`[runtime.handlers.NAME]`: one RuntimeClass handler."""

    path: str = field(default="", metadata={"help": "The runtime's program: a path, or a word looked up in PATH."})
    type: Literal["oci"] = field(default="oci", metadata={"help": "How it is driven; oci: runc's command line."})
    root: Path | None = field(
        default=None, metadata={"help": "Where it keeps its state; default: a directory below the run directory."}
    )
    options: tuple[str, ...] = field(default=(), metadata={"help": "Arguments put before the verb, at every call."})
    wants_sandbox_container: bool = field(
        default=False, metadata={"help": "Whether a pod needs a sandbox container first (virtual machines)."}
    )
    allowed_annotations: tuple[str, ...] = field(
        default=(), metadata={"help": "Prefixes of reserved annotations that may reach this runtime all the same."}
    )


@dataclass(frozen=True)
class Settings:
    """`[runtime]`"""

    default: str = field(
        default="", metadata={"help": "The handler that an empty name means; empty: crun if it works here, else runc."}
    )
    handlers: dict[str, HandlerSettings] = field(
        default_factory=dict, metadata={"help": "RuntimeClass handlers by name; crun and runc need no entry."}
    )
    timeout_s: float = field(
        default=60.0, metadata={"help": "After how many seconds a call of a runtime is taken to hang, and is killed."}
    )
