"""Where checkpoints are written to and read from: directories by descriptor, so that no path is resolved twice."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from podwright.base.errors import FailedPrecondition, InvalidArgument
from podwright.linux import syscalls as sys

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextmanager
def directory_of(location: str) -> Iterator[int]:
    """The directory that a file is to be written in; the way to it may lead through symlinks, which are the node's.

    Raises InvalidArgument.
    """
    path = Path(location)
    if not path.is_absolute() or location.endswith("/") or path.name in ("", ".."):
        raise InvalidArgument(f"must be the absolute path of a file, not {location!r}", field="location")
    try:
        fd = os.open(path.parent, _FLAGS)
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"no file can be written to {path.parent}: {error}", field="location") from error
    try:
        if path.is_dir():
            raise InvalidArgument(f"{location} is a directory", field="location")
        yield fd
    finally:
        os.close(fd)


@contextmanager
def real_directory(path: str, field: str) -> Iterator[int]:
    """A directory with no symlink on the way to it. openat2(2), RESOLVE_NO_SYMLINKS. Raises InvalidArgument."""
    if not path.startswith("/"):
        raise InvalidArgument(f"must be an absolute path, not {path!r}", field=field)
    try:
        fd = sys.openat2(sys.AT_FDCWD, path, _FLAGS, 0, sys.RESOLVE_NO_SYMLINKS | sys.RESOLVE_NO_MAGICLINKS)
    except (OSError, ValueError) as error:
        raise InvalidArgument(
            f"{path} must be a directory that is there, without a symlink on the way: {error}", field=field
        ) from error
    try:
        yield fd
    finally:
        os.close(fd)


def require_empty(directory: int, path: str) -> None:
    """Raises FailedPrecondition."""
    if os.listdir(directory):
        raise FailedPrecondition(f"output_path: {path} is not empty")


def identity(directory: int) -> tuple[str, int, int]:
    """What two callers lock who name the same directory."""
    info = os.fstat(directory)
    return ("checkpoint output", info.st_dev, info.st_ino)
