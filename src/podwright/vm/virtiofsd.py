"""virtiofsd's command line, of both programs of that name: QEMU's own (in C, up to QEMU 7.2) and the one in Rust.

It is root, as it has to make files for any user; it changes its root to the shared directory, and has a seccomp
filter of its own. virtiofsd(1).
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

from podwright.linux.process import find_program

_IN_C = Path("/usr/lib/qemu/virtiofsd")
_PROGRAMS = (Path("/usr/libexec/virtiofsd"), Path("/usr/lib/virtiofsd"), _IN_C)
_FILES = 1_000_000


def find_virtiofsd() -> Path | None:
    """None: it is not installed."""
    for program in _PROGRAMS:
        if os.access(program, os.X_OK):
            return program
    return find_program("virtiofsd")


def arguments(program: Path, directory: Path, listener: int) -> list[str]:
    """What follows the program's name. `listener`: the descriptor of a listening unix socket.

    Every file that the machine knows costs a descriptor; as many as may be had. Extended attributes carry the
    capabilities of files. Mounts below the directory are shown as such, or their inode numbers would collide.
    """
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _FILES if limit == resource.RLIM_INFINITY else min(limit, _FILES)
    if program == _IN_C:
        options = f"source={directory},sandbox=chroot,cache=auto,xattr,announce_submounts"
        return [f"--fd={listener}", f"--rlimit-nofile={files}", "-o", options]
    return [
        f"--fd={listener}", f"--rlimit-nofile={files}", "--shared-dir", str(directory), "--sandbox", "chroot",
        "--cache", "auto", "--xattr", "--announce-submounts",
    ]  # fmt: skip
