"""Paths inside trees that somebody else filled: resolved by the kernel below a root, never by joining strings."""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Callable, Container
from functools import partial
from pathlib import Path

from podwright.base.errors import InvalidArgument, ResourceExhausted
from podwright.linux import syscalls as sys

_MAX_LINKS = 40  # the kernel's own limit, path_resolution(7)
_CONFINED = sys.RESOLVE_IN_ROOT | sys.RESOLVE_NO_MAGICLINKS


def open_in_root(root: Path, path: str, flags: int = os.O_RDONLY, mode: int = 0, *, follow: bool = True) -> int:
    """Open `path` as a process chrooted to `root` would, symlinks included. openat2(2), RESOLVE_IN_ROOT.

    Without `follow` a symlink anywhere in it is ELOOP.
    """
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        resolve = _CONFINED if follow else _CONFINED | sys.RESOLVE_NO_SYMLINKS
        return sys.openat2(root_fd, path.lstrip("/") or ".", flags, mode, resolve)
    finally:
        os.close(root_fd)


def resolve_in_root(root: Path, path: str, *, stops: Container[str] = ()) -> str:
    """Where `path` leads for a process chrooted to `root`: absolute in the tree, free of symlinks. What is missing
    stays as it is, and so does what lies below a path in `stops`, which is another tree.

    Raises OSError: ENOTDIR, ELOOP.
    """
    return _walk(path, partial(_link_in_root, root), stops)


def _walk(path: str, link_of: Callable[[list[str], str], str | None], stops: Container[str] = ()) -> str:
    """The way of `path`, a name at a time: `link_of(directory, name)` gives a symlink's target, None for anything
    else. Raises OSError ELOOP."""
    left, here, links = _parts(path)[::-1], list[str](), 0
    while left:
        name = left.pop()
        if name == "..":
            here = here[:-1]
            continue
        if "/" + "/".join(here) in stops:
            return posixpath.normpath("/" + "/".join([*here, name, *left[::-1]]))
        target = link_of(here, name)
        if target is None:
            here.append(name)
            continue
        if (links := links + 1) > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        here = [] if target.startswith("/") else here
        left += _parts(target)[::-1]
    return "/" + "/".join(here)


def _link_in_root(root: Path, parent: list[str], name: str) -> str | None:
    """What the symlink `name` says; None when it is none, or missing."""
    try:
        parent_fd = open_in_root(root, "/".join(parent), os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        return os.readlink(name, dir_fd=parent_fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise
        return None
    finally:
        os.close(parent_fd)


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


def make_directories_in_root(root: Path, path: str, mode: int = 0o755, *, owner: tuple[int, int] | None = None) -> str:
    """`mkdir -p` inside an untrusted tree. Symlinks lead where they would for a process chrooted to `root`, and what
    a dangling one names is made too. `owner`: uid and gid of what is made.

    Gives the directory's real path in the tree, absolute and without symlinks. Nobody else may be changing the tree.
    Raises OSError: ENOTDIR, ELOOP.
    """

    def make(parent: list[str], name: str) -> str | None:
        parent_fd = open_in_root(root, "/".join(parent), os.O_PATH | os.O_DIRECTORY)
        try:
            return _make_directory(parent_fd, name, mode, owner)
        finally:
            os.close(parent_fd)

    real = _walk(path, make)
    os.close(open_in_root(root, real, os.O_PATH | os.O_DIRECTORY))
    return real


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _make_directory(parent_fd: int, name: str, mode: int, owner: tuple[int, int] | None) -> str | None:
    """Make a directory, or leave what is there; where that is a symlink, give its target."""
    try:
        os.mkdir(name, mode, dir_fd=parent_fd)
    except FileExistsError:
        try:
            return os.readlink(name, dir_fd=parent_fd)
        except OSError as error:
            if error.errno != errno.EINVAL:  # no symlink
                raise
    else:
        if owner is not None:
            os.chown(name, *owner, dir_fd=parent_fd, follow_symlinks=False)
    return None
