"""Kernel and first file system for virtual machines, made on the spot and kept under a key of all they are made of.

A machine's start asks `guest` and gets paths: what was built before, if nothing has changed since, by a handful of
stat(2) calls. Files appear whole or not at all, and are never changed: machines that run are not touched by a build.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from podwright import __version__
from podwright.base.files import write_atomic
from podwright.vm.cpio import archive
from podwright.vm.guest_files import guest_files, modules_for_later
from podwright.vm.guest_kernel import Kernel, find_kernel, module_content
from podwright.vm.settings import Settings
from podwright.vm.sharing import MODULES, REMEDIES, VIRTIOFS, choose

REQUIRED_MODULES = ["virtio_mmio", "virtio_console", "virtio_net"]
"""Beside those of the share."""

OPTIONAL_MODULES = ["virtio_balloon", "virtio_rng", "virtio_pci"]
# For what containers with the capabilities do: networks of their own, firewall rules, root file systems.
LATER_MODULES = [
    "bridge", "br_netfilter", "veth", "dummy", "macvlan", "ipvlan", "vxlan", "tun", "overlay", "nf_tables",
    "nft_compat", "nft_chain_nat", "nft_masq", "nft_nat", "nft_ct", "nft_reject_inet", "nft_log", "ip_tables",
    "iptable_filter", "iptable_nat", "ip6_tables", "ip6table_filter", "ip6table_nat", "xt_MASQUERADE", "xt_nat",
    "xt_conntrack", "xt_addrtype", "xt_comment", "xt_mark", "xt_tcpudp",
]  # fmt: skip
_SYSTEM_PYTHON = Path("/usr/bin/python3")
_FORMAT = 3


@dataclass(frozen=True)
class GuestSettings:
    """What to build from. Empty: found. `modules` are loaded beside those that every machine needs; `share` is the way
    to the host's files, of `sharing`."""

    directory: Path = Path("/var/lib/podwright-vm/guest")
    kernel: Path | None = None
    kernel_modules: Path | None = None
    python: Path | None = None
    modules: tuple[str, ...] = ()
    share: str = VIRTIOFS


def configured(settings: Settings) -> GuestSettings:
    """What podwright-vm's settings say about it."""
    return GuestSettings(
        directory=Path(settings.guest_directory), kernel=Path(settings.kernel) if settings.kernel else None,
        kernel_modules=Path(settings.kernel_modules) if settings.kernel_modules else None,
        share=choose(settings.share),
    )  # fmt: skip


@dataclass(frozen=True)
class Guest:
    """What QEMU gets. `version` is the kernel's."""

    kernel: Path
    initrd: Path
    version: str


def guest(settings: GuestSettings, *, force: bool = False) -> Guest:
    """What there is for these settings, built if need be (about a second). Blocks.

    Raises NotFound, InvalidArgument with the remedy, when a kernel or a program is missing.
    """
    kernel = find_kernel(settings.kernel, settings.kernel_modules, MODULES[settings.share], REMEDIES[settings.share])
    python = settings.python or (_SYSTEM_PYTHON if _SYSTEM_PYTHON.exists() else Path(sys.executable).resolve())
    key = _key(settings, kernel, python)
    made = Guest(settings.directory / f"vmlinuz-{key}", settings.directory / f"initrd-{key}", kernel.version)
    if not force and made.initrd.exists():
        return made
    settings.directory.mkdir(parents=True, exist_ok=True)
    with (settings.directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if force or not made.initrd.exists():
            _build(settings, kernel, python, made)
    return made


def _build(settings: GuestSettings, kernel: Kernel, python: Path, made: Guest) -> None:
    required = [*REQUIRED_MODULES, *MODULES[settings.share], *settings.modules]
    order = kernel.load_order(required, OPTIONAL_MODULES, REMEDIES[settings.share])
    modules = {f"{at:02}-{path.name.split('.')[0]}.ko": module_content(path) for at, path in enumerate(order)}
    entries = asyncio.run(guest_files(python, modules)) | modules_for_later(kernel.later(LATER_MODULES))
    write_atomic(made.kernel, kernel.image.read_bytes(), mode=0o644)
    write_atomic(made.initrd, archive(entries), mode=0o644)  # last: it is what says that both are there


def _key(settings: GuestSettings, kernel: Kernel, python: Path) -> str:
    sources = sorted(Path(str(files("podwright.guest"))).glob("*.py"))
    shared = [
        Path(str(files("podwright"))) / name
        for name in ("wire/guest_frames.py", "linux/syscalls.py", "linux/netlink.py")
    ]
    parts = [str(_FORMAT), __version__, kernel.version, str(kernel.image), settings.share, *settings.modules]
    for path in (kernel.image, kernel.modules / "modules.dep", python, *sources, *shared):
        try:
            found = os.stat(path)
        except FileNotFoundError:
            continue
        parts.append(f"{path} {found.st_size} {found.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
