"""OCI runtimes that come with Podwright: programs of their own, beside the interpreter's, each a handler by default."""

from __future__ import annotations

import sys
from pathlib import Path

from podwright.linux.process import find_program

# By the handler's name: the program, and what it is nothing without.
_PROGRAMS = {
    "nspawn": ("podwright-nspawn", "systemd-nspawn"),
    "vm": ("podwright-vm", "qemu-system-x86_64"),
}
_KERNELS = Path("/boot")
_WITHOUT_SYSTEMD_CGROUPS = frozenset({"nspawn"})


def own_program(handler: str) -> Path | None:
    """Where the program of one of our handlers is; None for another handler, or where its program is not installed."""
    if handler not in _PROGRAMS:
        return None
    name, _ = _PROGRAMS[handler]
    return find_program(str(Path(sys.executable).with_name(name))) or find_program(name)


def own_handlers(*, systemd_cgroups: bool) -> dict[str, Path]:
    """The programs of our handlers that can work here."""
    unable = _WITHOUT_SYSTEMD_CGROUPS if systemd_cgroups else frozenset[str]()
    found = {
        handler: own_program(handler)
        for handler, (_, needs) in _PROGRAMS.items()
        if handler not in unable and find_program(needs) and (handler != "vm" or any(_KERNELS.glob("vmlinuz-*")))
    }
    return {handler: program for handler, program in found.items() if program is not None}
