"""Settings of NRI."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Rejectable = Literal["hooks", "namespaces", "sysctls", "seccomp-default", "seccomp-custom", "seccomp-unconfined"]


@dataclass(frozen=True)
class Settings:
    """`[nri]`"""

    enabled: bool = field(
        default=True,
        metadata={
            "help": "Let NRI plugins see and change pods and containers. What is not connected costs nothing; what is\n"
            "can do all that root can."
        },
    )
    socket: Path = field(
        default=Path("/var/run/nri/nri.sock"),
        metadata={
            "help": "Where plugins connect; only processes of this daemon's own user (root) are let in. A socket that\n"
            "another runtime serves is left to it."
        },
    )
    connections: bool = field(
        default=True, metadata={"help": "Whether plugins may connect; else only those of plugin_dir run."}
    )
    plugin_dir: Path = field(
        default=Path("/opt/nri/plugins"),
        metadata={
            "help": "Plugins to start with the daemon: executables named NN-NAME, NN giving their order. They and the\n"
            "directory must belong to root and be writable by nobody else."
        },
    )
    plugin_config_dir: Path = field(
        default=Path("/etc/nri/conf.d"),
        metadata={"help": "Where NN-NAME.conf or NAME.conf is what a plugin of plugin_dir is configured with."},
    )
    registration_timeout_s: float = field(
        default=5.0,
        metadata={"help": "How long a plugin may take to register once it is connected, in seconds.", "above": 0},
    )
    request_timeout_s: float = field(
        default=2.0,
        metadata={
            "help": "How long a plugin may take to answer a request, in seconds; a slower one is disconnected, and\n"
            "pods go on without it.",
            "above": 0,
        },
    )
    synchronize_timeout_s: float = field(
        default=10.0,
        metadata={
            "help": "How long a new plugin may take to digest what runs already, in seconds; nothing is created\n"
            "meanwhile.",
            "above": 0,
        },
    )
    required_plugins: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Plugins (NAME or NN-NAME) without which no container is created. A pod asks for more with the\n"
            "annotation required-plugins.noderesource.dev."
        },
    )
    tolerate_missing_annotation: str = field(
        default="", metadata={"help": "An annotation whose value true frees a pod from required_plugins; empty: none."}
    )
    reject: tuple[Rejectable, ...] = field(
        default=(),
        metadata={
            "help": "What plugins may not change of containers; a container of which they try is not created.\n"
            "seccomp-default, -custom, -unconfined: by the profile the pod asked for."
        },
    )
