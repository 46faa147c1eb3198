"""What processes have open, and may have open. Blocks in proportion to what is open: for a thread."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class OpenFiles:
    """File descriptors of some processes; `sockets` are those of them that are sockets."""

    descriptors: int = 0
    sockets: int = 0


def open_files(pids: Iterable[int]) -> OpenFiles:
    """Of all these processes; those that have ended don't count. proc_pid_fd(5)"""
    descriptors = sockets = 0
    for pid in pids:
        try:
            with os.scandir(f"/proc/{pid}/fd") as entries:
                for entry in entries:
                    descriptors += 1
                    sockets += _is_socket(entry.path)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return OpenFiles(descriptors, sockets)


def _is_socket(link: str) -> bool:
    try:
        return os.readlink(link).startswith("socket:")  # noqa: PTH115 - there may be a hundred thousand
    except (FileNotFoundError, ProcessLookupError):
        return False


def open_files_limit(pid: int) -> int | None:
    """RLIMIT_NOFILE, soft; None when the process has ended. prlimit(2) would want CAP_SYS_RESOURCE; proc_pid_limits(5)
    doesn't."""
    try:
        text = Path(f"/proc/{pid}/limits").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    for line in text.splitlines():
        if line.startswith("Max open files"):
            soft = line.split()[3]
            return int(soft) if soft.isdigit() else None
    return None


def threads(pids: Iterable[int]) -> int:
    """Of all these processes. proc_pid_task(5)"""
    count = 0
    for pid in pids:
        try:
            count += len(os.listdir(f"/proc/{pid}/task"))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return count
