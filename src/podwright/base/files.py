"""The one door to durable writes: a file is either the old one or the whole new one.

`write_atomic` is for what must survive a crash of the daemon or the machine; `write_plain` for what a restart
makes anew (files under the run directory). Readers of untrusted trees use `linux.paths` instead.
"""

from __future__ import annotations

import os
from pathlib import Path

from podwright.base.errors import PodwrightError, ResourceExhausted
from podwright.base.ids import random_suffix


def write_atomic(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write to a sibling, fsync, rename over `path`, fsync the directory. rename(2), fsync(2)."""
    temporary = path.with_name(f".{path.name}.{random_suffix()}.tmp")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            _write_all(fd, data)
            os.fchmod(fd, mode)
            os.fsync(fd)
        finally:
            os.close(fd)
        temporary.rename(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise disk_error(error, path) from error
    fsync_directory(path.parent)


def write_plain(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write `path` without asking the disk for durability; replaces the content of an existing file."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        try:
            _write_all(fd, data)
            os.fchmod(fd, mode)
        finally:
            os.close(fd)
    except OSError as error:
        raise disk_error(error, path) from error


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def fsync_directory(path: Path) -> None:
    """Make the names in a directory durable. fsync(2), last paragraph of DESCRIPTION."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def remove_tree(path: Path) -> None:
    """Remove a tree, following nothing; absent is success. Blocks: call it in a thread for big trees."""
    import shutil  # with all its compression formats, which programs that write one file need not wait for

    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        path.unlink(missing_ok=True)


def disk_error(error: OSError, path: Path | str) -> PodwrightError | OSError:
    """ENOSPC and EDQUOT as ResourceExhausted that names the filesystem's path; any other error unchanged."""
    if error.errno in (28, 122):
        return ResourceExhausted(f"no space left for {path}: {error.strerror}; free space or remove images")
    return error
