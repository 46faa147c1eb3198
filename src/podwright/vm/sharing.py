"""Which way a machine gets at the host's files: virtiofs, served by virtiofsd, or 9p, served by QEMU itself.

virtiofs comes first: it is faster, coherent for mappings, and leaves QEMU without any right over files. 9p is there in
every QEMU, but not in every kernel. qemu-system-x86_64(1), `-fsdev local`; kernel: filesystems/9p.rst.
"""

from __future__ import annotations

from podwright.vm.guest_kernel import REMEDY
from podwright.vm.virtiofsd import find_virtiofsd

VIRTIOFS, NINE_P = "virtiofs", "9p"
MODULES = {VIRTIOFS: ["virtiofs"], NINE_P: ["9p", "9pnet_virtio"]}
"""What the machine's kernel needs for each."""

INSTALL_VIRTIOFSD = "install virtiofsd (Debian 12: qemu-system-common; 13: virtiofsd)"
REMEDIES = {
    VIRTIOFS: REMEDY,
    NINE_P: (
        f"{INSTALL_VIRTIOFSD}, or a kernel with 9p, which the cloud kernel has not (Debian: linux-image-amd64), "
        "or name such a kernel and the directory of its modules"
    ),
}
"""What to do where there is no kernel for it."""


def choose(wanted: str) -> str:
    """`wanted`: a setting, "auto" among them: 9p only where there is no virtiofsd."""
    if wanted != "auto":
        return wanted
    return NINE_P if find_virtiofsd() is None else VIRTIOFS
