"""Whether an image can run programs of the machine's other ABIs (32-bit x86 or ARM).

libseccomp compiles the default profile once for each architecture it names, and on a 64-bit machine the two
additional ones take more time than everything else of a container's creation. So they are named only for images
that can use them: that have a 32-bit dynamic loader, or whose first program is 32-bit. A 32-bit program in any
other image is killed at its first system call; `container.seccomp_abis = "all"` names them always.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

from podwright.linux.paths import open_in_root

_LOADERS = {
    "x86_64": ("lib/ld-linux.so.2", "lib32/ld-linux.so.2", "lib/ld-musl-i386.so.1", "libx32/ld-linux-x32.so.2"),
    "aarch64": ("lib/ld-linux-armhf.so.3", "lib/ld-linux.so.3", "lib/ld-musl-armhf.so.1"),
}
_ELF_CLASS_32 = b"\x7fELF\x01"  # elf(5), e_ident


def runs_other_abis(rootfs: Path, first_program: str) -> bool:
    """Looks into the mounted root file system, confined to it; some tens of microseconds."""
    loaders = _LOADERS.get(platform.machine(), ())
    return any(_exists(rootfs, loader) for loader in loaders) or _is_32_bit(rootfs, first_program)


def _exists(rootfs: Path, path: str) -> bool:
    try:
        os.close(open_in_root(rootfs, path, os.O_PATH))
    except OSError:
        return False
    return True


def _is_32_bit(rootfs: Path, program: str) -> bool:
    """A program that is no path is looked up by the runtime later; that a 32-bit static one hides there is rare."""
    if "/" not in program:
        return False
    try:
        fd = open_in_root(rootfs, program, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return os.read(fd, len(_ELF_CLASS_32)) == _ELF_CLASS_32
    except OSError:
        return False
    finally:
        os.close(fd)
