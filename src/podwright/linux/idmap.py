"""Id maps of user namespaces, and mounts that show a tree with its owners mapped.

user_namespaces(7), "User and group ID mappings"; mount_setattr(2), "ID-mapped mounts".
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from podwright.base.errors import FailedPrecondition, InvalidArgument
from podwright.linux import syscalls as sys

ID_LIMIT = 2**32 - 1
"""The kernel's ids end below it: 2**32 - 1 itself means "no id" (credentials(7))."""


@dataclass(frozen=True)
class IdRange:
    """One line of /proc/PID/uid_map: `length` ids from `inside` on are those from `outside` on."""

    inside: int
    outside: int
    length: int

    def __str__(self) -> str:
        return f"{self.inside} {self.outside} {self.length}"


@dataclass(frozen=True)
class IdMaps:
    """A user namespace's maps: `uids` and `gids`."""

    uids: tuple[IdRange, ...]
    gids: tuple[IdRange, ...]

    @property
    def root(self) -> tuple[int, int]:
        """What uid 0 and gid 0 of the namespace are outside. Raises InvalidArgument where they are nobody."""
        return self.outside(0, 0)

    def outside(self, uid: int, gid: int) -> tuple[int, int]:
        """What ids of the namespace are outside. Raises InvalidArgument for ids that are not mapped."""
        return _outside(self.uids, uid, "uid"), _outside(self.gids, gid, "gid")


def _outside(ranges: tuple[IdRange, ...], number: int, kind: str) -> int:
    for line in ranges:
        if line.inside <= number < line.inside + line.length:
            return line.outside + number - line.inside
    raise InvalidArgument(f"{kind} {number} is not mapped in the user namespace")


def clone_idmapped(source: Path, userns: Path, *, recursive: bool = False) -> int:
    """A detached mount of `source` that shows on-disk id 0 as what id 0 of the namespace at `userns` is outside.

    `source` is no symlink. `recursive` takes the mounts beneath along, with the owners that they have. Raises
    FailedPrecondition where the file system can't be mounted so (Linux 5.12; ext4, xfs, btrfs and others, tmpfs from
    6.3 on), OSError.
    """
    flags = sys.OPEN_TREE_CLONE | sys.OPEN_TREE_CLOEXEC | sys.AT_SYMLINK_NOFOLLOW
    flags |= sys.AT_RECURSIVE if recursive else 0
    tree_fd = sys.open_tree(sys.AT_FDCWD, os.fspath(source), flags)
    try:
        userns_fd = os.open(userns, os.O_RDONLY | os.O_CLOEXEC)
        try:
            sys.mount_setattr(tree_fd, "", sys.AT_EMPTY_PATH, attr_set=sys.MOUNT_ATTR_IDMAP, userns_fd=userns_fd)
        finally:
            os.close(userns_fd)
    except OSError as error:
        os.close(tree_fd)
        if error.errno in (errno.EINVAL, errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP):
            raise FailedPrecondition(
                f"the file system of {source} can't be mounted with mapped ids ({error.strerror}): "
                "keep it on another one (ext4, xfs, btrfs, tmpfs), or use a newer kernel"
            ) from error
        raise
    return tree_fd


def attach(mount_fd: int, target: Path) -> None:
    """Mount a detached mount at `target`. move_mount(2)."""
    sys.move_mount(mount_fd, "", sys.AT_FDCWD, os.fspath(target), sys.MOVE_MOUNT_F_EMPTY_PATH)
