"""How large a file system is, and which device it is on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FileSystem:
    """`inodes` is 0 where they are made as they are needed (btrfs)."""

    device: str
    size_bytes: int
    inodes: int
    inodes_free: int


def file_system(path: Path) -> FileSystem:
    """The file system that `path` is on. statvfs(3)"""
    figures = os.statvfs(path)
    device = path.stat().st_dev
    return FileSystem(
        device_name(os.major(device), os.minor(device)), figures.f_frsize * figures.f_blocks, figures.f_files,
        figures.f_ffree,
    )  # fmt: skip


def device_name(major: int, minor: int) -> str:
    """`/dev/NAME` of a block device; `MAJOR:MINOR` where it has none, as with file systems without a device."""
    try:
        lines = Path(f"/sys/dev/block/{major}:{minor}/uevent").read_text().splitlines()
    except FileNotFoundError:
        return f"{major}:{minor}"
    names = [line.removeprefix("DEVNAME=") for line in lines if line.startswith("DEVNAME=")]
    return f"/dev/{names[0]}" if names else f"{major}:{minor}"
