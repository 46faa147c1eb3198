"""What a tree takes on disk, counted by walking it. Blocks: for a thread."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from podwright.snapshot.base import Usage


def disk_usage(tree: Path) -> Usage:
    """Allocated bytes and inodes of a tree, hard links counted once. Entries that vanish meanwhile don't count."""
    total, inodes, seen, pending = 0, 0, set[int](), [os.fspath(tree)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    info = entry.stat(follow_symlinks=False)
                    if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
                        if info.st_ino in seen:
                            continue
                        seen.add(info.st_ino)
                    total += info.st_blocks * 512
                    inodes += 1
                    if stat.S_ISDIR(info.st_mode):
                        pending.append(entry.path)
        except (FileNotFoundError, NotADirectoryError):
            continue
    return Usage(total, inodes)
