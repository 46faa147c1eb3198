"""Paths inside trees that somebody else filled: resolved by the kernel below a root, never by joining strings."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from podwright.base.errors import InvalidArgument, ResourceExhausted
from podwright.linux import syscalls as sys

_CONFINED = sys.RESOLVE_IN_ROOT | sys.RESOLVE_NO_MAGICLINKS


def open_in_root(root: Path, path: str, flags: int = os.O_RDONLY, mode: int = 0) -> int:
    """Open `path` as a process chrooted to `root` would, symlinks included. openat2(2), RESOLVE_IN_ROOT."""
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return sys.openat2(root_fd, path.lstrip("/") or ".", flags, mode, _CONFINED)
    finally:
        os.close(root_fd)


def read_in_root(root: Path, path: str, *, limit_bytes: int) -> bytes | None:
    """The content of a regular file in an untrusted tree; None when it is absent.

    Raises ResourceExhausted when it is larger than `limit_bytes`, InvalidArgument when it is no regular file
    (O_NONBLOCK keeps a FIFO from hanging the open).
    """
    try:
        fd = open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InvalidArgument(f"{path} in the image can't be opened: {error.strerror}") from error
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise InvalidArgument(f"{path} in the image is not a regular file")
        if info.st_size > limit_bytes:
            raise ResourceExhausted(f"{path} in the image has {info.st_size} bytes, more than {limit_bytes}")
        return os.pread(fd, limit_bytes, 0)
    finally:
        os.close(fd)


def make_directories_in_root(root: Path, path: str, mode: int = 0o755) -> None:
    """`mkdir -p` inside an untrusted tree: existing symlinks are followed within `root` only."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    for count in range(1, len(parts) + 1):
        parent_fd = open_in_root(root, "/".join(parts[: count - 1]), os.O_PATH | os.O_DIRECTORY)
        try:
            os.mkdir(parts[count - 1], mode, dir_fd=parent_fd)
        except FileExistsError:
            pass
        finally:
            os.close(parent_fd)
    os.close(open_in_root(root, path, os.O_PATH | os.O_DIRECTORY))
