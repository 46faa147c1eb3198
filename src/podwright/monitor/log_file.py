"""A container's log file: there before the process runs, readable by the group, written by the monitor alone."""

from __future__ import annotations

import os
from pathlib import Path

from podwright.base.errors import InvalidArgument, PodwrightError
from podwright.base.files import disk_error

_MODE = 0o640


def create_log(path: Path) -> None:
    """Make the file and its parents. The kubelet looks for it right after the start.

    Raises InvalidArgument for a path that can't be a log, ResourceExhausted.
    """
    text = str(path)
    if not path.is_absolute() or ".." in path.parts or any(c in text for c in ":\n\0"):
        raise InvalidArgument(f"log path {text!r} must be absolute, without '..' and without a colon", field="log_path")
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, _MODE)
        try:
            os.fchmod(fd, _MODE)
        finally:
            os.close(fd)
    except OSError as error:
        raised = disk_error(error, path)
        if isinstance(raised, PodwrightError):
            raise raised from error
        raise InvalidArgument(f"log file {path} can't be made: {error.strerror}", field="log_path") from error


def is_open_in(pid: int, path: Path) -> bool:
    """Whether a process has exactly this file open. proc(5), /proc/PID/fd."""
    try:
        wanted = path.stat()
    except FileNotFoundError:
        return False
    directory = Path(f"/proc/{pid}/fd")
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, ProcessLookupError):
        return False
    for name in names:
        try:
            found = (directory / name).stat()
        except OSError:
            continue
        if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
            return True
    return False
