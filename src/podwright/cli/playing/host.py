"""Facts of this machine that manifests refer to."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from podwright.cli.manifest.facts import Host

# TEST-NET-1, RFC 5737: nothing is sent, the kernel only chooses a route and with it our own address.
_ELSEWHERE = ("192.0.2.1", 9)


def look_around() -> Host:
    """Gather the facts; what can't be found stays empty."""
    return Host(
        name=os.uname().nodename,
        ip=own_address(),
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        unified_cgroups=Path("/sys/fs/cgroup/cgroup.controllers").exists(),
        resolv_conf=text_of(Path("/etc/resolv.conf")),
        hosts=text_of(Path("/etc/hosts")),
    )


def own_address() -> str:
    """The address of the default route; empty when there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)
        except OSError:
            return ""
        address: str = probe.getsockname()[0]
        return address


def text_of(path: Path) -> str:
    """A small text file; empty when it isn't there."""
    try:
        return path.read_text(errors="surrogateescape")
    except FileNotFoundError:
        return ""
