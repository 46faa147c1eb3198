"""Settings of pods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class HandlerRule:
    """`[sandbox.handler_rules.NAME]`: pods that get a handler though they name none. All that is given has to fit."""

    handler: str = field(default="", metadata={"help": "The handler of pods that the rule fits."})
    namespaces: tuple[str, ...] = field(default=(), metadata={"help": "The pod is in one of these."})
    labels: Mapping[str, str] = field(
        default_factory=dict, metadata={"help": "The pod has these; an empty value: any value."}
    )
    annotations: Mapping[str, str] = field(default_factory=dict, metadata={"help": "As labels."})


@dataclass(frozen=True)
class Settings:
    """`[sandbox]`"""

    shm_size_bytes: int = field(
        default=64 * 1024 * 1024, metadata={"help": "Size of a pod's /dev/shm, in bytes.", "min": 4096}
    )
    undo_timeout_s: float = field(
        default=60.0,
        metadata={"help": "How long taking down a pod that failed to start may take, in seconds.", "above": 0},
    )
    unprivileged_ports: bool = field(
        default=True, metadata={"help": "Let containers without privileges bind ports below 1024 (pod network only)."}
    )
    unprivileged_icmp: bool = field(
        default=True, metadata={"help": "Let containers without CAP_NET_RAW send ICMP echo (pod network only)."}
    )
    handler_rules: Mapping[str, HandlerRule] = field(
        default_factory=dict,
        metadata={
            "help": "Rules by name for pods that name no handler: the first that fits counts (docs/runtimes.md).\n"
            "With any rule, pods that need the host's namespaces or privileges get a handler whose containers are\n"
            "processes of the host."
        },
    )
