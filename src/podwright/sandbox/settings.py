"""Settings of pods."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Settings:
    """`[sandbox]`"""

    shm_size_bytes: int = field(default=64 * 1024 * 1024, metadata={"help": "Size of a pod's /dev/shm, in bytes."})
    undo_timeout_s: float = field(
        default=60.0, metadata={"help": "How long taking down a pod that failed to start may take, in seconds."}
    )
    unprivileged_ports: bool = field(
        default=True, metadata={"help": "Let containers without privileges bind ports below 1024 (pod network only)."}
    )
    unprivileged_icmp: bool = field(
        default=True, metadata={"help": "Let containers without CAP_NET_RAW send ICMP echo (pod network only)."}
    )
