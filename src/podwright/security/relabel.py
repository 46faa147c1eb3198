"""SELinux labels of a volume's files, for mounts that ask for them (`selinux_relabel`). setxattr(2), xattr(7).

Where the kernel has no SELinux there is no label to give, and nothing is done: the kubelet sets the flag on all nodes.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from podwright.base.errors import InvalidArgument

_XATTR = "security.selinux"
# With a container's label on them the machine would not be usable any more (CVE-2021-43816).
_NEVER = frozenset(
    map(Path, (
        "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib32", "/lib64", "/libx32", "/media", "/mnt", "/opt",
        "/proc", "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/lib", "/var/log", "/var/run",
    ))
)  # fmt: skip
_NEVER_BELOW = tuple(map(Path, ("/boot", "/dev", "/etc", "/proc", "/sys", "/usr")))


def relabel(path: Path, label: str) -> None:
    """Give a file, or a directory and all below it, `label`. Blocks as long as the tree is big.

    `path` has no symlinks in it, and none below it is followed: a container may be writing there. File systems without
    labels are left as they are. Raises InvalidArgument for a directory of the system's, OSError.
    """
    if path in _NEVER or any(path.is_relative_to(top) for top in _NEVER_BELOW):
        raise InvalidArgument(f"{path} belongs to the system: it is not given a container's SELinux label")
    value = label.encode() + b"\0"
    if not _set(os.fspath(path), value) or path.is_symlink() or not path.is_dir():
        return
    for _directory, directories, files, fd in os.fwalk(path, follow_symlinks=False):
        for name in (*directories, *files):
            # The directory is held by its descriptor, so that nobody can put a symlink in its place.
            _set(f"/proc/self/fd/{fd}/{name}", value)


def _set(path: str, value: bytes) -> bool:
    """False where the file system keeps no labels, or the file has gone."""
    try:
        if _label(path) != value:
            os.setxattr(path, _XATTR, value, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.ENOENT):
            raise
        return False
    return True


def _label(path: str) -> bytes:
    try:
        return os.getxattr(path, _XATTR, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
        return b""
