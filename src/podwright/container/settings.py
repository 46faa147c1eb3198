"""Settings of containers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Settings:
    """`[container]`"""

    exec_drain_s: float = field(
        default=1.0,
        metadata={
            "help": "How long the output of an exec is still read after its process ended, in seconds.",
            "min": 0,
        },
    )
    exec_hangup_s: float = field(
        default=30.0,
        metadata={
            "help": "How long a process executed interactively may go on after its client has gone and its streams "
            "have been closed,\nin seconds; then it is killed. Negative: as long as it likes."
        },
    )
    stop_kill_wait_s: float = field(
        default=30.0,
        metadata={
            "help": "How long a stop waits after SIGKILL before it reports a process that can't be killed.",
            "above": 0,
        },
    )
    seccomp_abis: Literal["auto", "all"] = field(
        default="auto",
        metadata={
            "help": "Architectures the default seccomp profile is compiled for. auto: 32-bit ones only for images\n"
            "that have a 32-bit loader or first program, which halves the time to create a container; all: always."
        },
    )
    selinux_optional: bool = field(
        default=False,
        metadata={
            "help": "Run containers that ask for SELinux labels without them where the kernel has no SELinux,\n"
            "instead of refusing them."
        },
    )
    absent_mount_sources_to_reject: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Host paths whose absence fails a container that mounts them. Any other one that is missing is\n"
            "made as a directory, which the kubelet's hostPath volumes without a type count on."
        },
    )
    stats_disk_interval_s: float = field(
        default=15.0,
        metadata={"help": "How old the disk usage of a container in its stats may be, in seconds.", "above": 0},
    )
