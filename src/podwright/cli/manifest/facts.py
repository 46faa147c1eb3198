"""What translation needs to know beside the manifest: facts of the host, and of the pod once its sandbox is there.

Plain data, gathered by `podwright.cli.playing`, so that the translation stays pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Host:
    """The machine. `ip`: the address of its default route, empty without one. `resolv_conf`: the file's text."""

    name: str = "localhost"
    ip: str = ""
    memory_bytes: int = 0
    unified_cgroups: bool = False
    resolv_conf: str = ""
    hosts: str = ""


@dataclass(frozen=True)
class Instance:
    """One playing of a pod: its uid, its addresses (none before the sandbox is there), and its files on the host.

    `volumes`: a host path for each volume. `hosts`: the file to mount at /etc/hosts.
    """

    uid: str
    log_directory: Path
    volumes: Mapping[str, Path]
    hosts: Path
    termination_logs: Mapping[str, Path]
    ips: tuple[str, ...] = ()
