"""Copying a small tree between file systems, with owners and modes. For a container's own child alone."""

from __future__ import annotations

import os
import stat

_PIECE_BYTES = 1 << 20


def copy_tree(source: int, target: int) -> None:
    """The content of one directory into another; closes both descriptors. Devices and sockets are left out."""
    try:
        for name in os.listdir(source):
            found = os.stat(name, dir_fd=source, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                os.mkdir(name, 0o700, dir_fd=target)
                copy_tree(_directory(name, source), _directory(name, target))
            elif stat.S_ISLNK(found.st_mode):
                os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            elif stat.S_ISREG(found.st_mode):
                _copy_file(name, source, target)
            else:
                continue
            os.chown(name, found.st_uid, found.st_gid, dir_fd=target, follow_symlinks=False)
            if not stat.S_ISLNK(found.st_mode):
                os.chmod(name, stat.S_IMODE(found.st_mode), dir_fd=target)
        found = os.fstat(source)
        os.fchown(target, found.st_uid, found.st_gid)
        os.fchmod(target, stat.S_IMODE(found.st_mode))
    finally:
        os.close(source)
        os.close(target)


def _directory(name: str, parent: int) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)


def _copy_file(name: str, source: int, target: int) -> None:
    reader = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
    try:
        writer = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
        try:
            while piece := os.read(reader, _PIECE_BYTES):
                os.write(writer, piece)
        finally:
            os.close(writer)
    finally:
        os.close(reader)
