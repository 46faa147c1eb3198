"""Whether anybody reads a container's standard input, found out from the monitor's descriptors.

conmon tries for ever, and with all of a processor, to write input that nobody can read any more.
"""

from __future__ import annotations

import os
import select
import stat
from pathlib import Path


def has_reader(monitor_pid: int) -> bool:
    """Whether the pipe (or the terminal) that a monitor writes input to is open at its other end. proc(5), poll(2)."""
    try:
        return any(_is_read(path) for path in Path(f"/proc/{monitor_pid}/fd").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return False


def _is_read(path: Path) -> bool:
    try:
        target = str(path.readlink())
        # The link's mode is the descriptor's.
        if not target.startswith("pipe:") or not path.lstat().st_mode & stat.S_IWUSR:
            return target.endswith("/ptmx")
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        poll = select.poll()
        poll.register(fd, 0)
        return not poll.poll(0)  # POLLERR: no reader
    finally:
        os.close(fd)
