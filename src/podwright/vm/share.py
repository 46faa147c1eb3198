"""What a machine sees of the host's files: one directory, below which root file systems and volumes are mounted.

The directory is a tmpfs in a mount namespace of the machine's keeper: mounts made there are seen by virtiofsd, which
lives in the same namespace, and by nobody else, and they go with it however it ends. Who creates a container opens
its mounts in the host's namespace, whatever propagation that has, as detached trees (`open_mount`), and sends the
descriptors; the keeper attaches them (`Share.attach`). open_tree(2), move_mount(2), mount_setattr(2).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from podwright.base.errors import FailedPrecondition, InvalidArgument
from podwright.linux import mounts
from podwright.linux import syscalls as sys

_KINDS = {
    stat.S_IFSOCK: "a socket, which has its peers on the host",
    stat.S_IFBLK: "a block device of the host",
    stat.S_IFCHR: "a character device of the host",
    stat.S_IFIFO: "a fifo, whose other end is on the host",
}


def open_mount(
    path: str, *, recursive: bool, read_only: bool, read_only_below: bool, follows_host: bool, field: str
) -> int:
    """A detached copy of what is mounted at `path`, to be sent to the keeper; the caller closes it. Device nodes in it,
    which the machine may make, open nothing on the host.

    `read_only_below`: what is mounted below it is read-only, too. `follows_host`: mounts that the host makes below it
    later appear there, too. `field` is for messages. Raises InvalidArgument (nothing there), FailedPrecondition (can't
    cross into a machine).
    """
    deep = sys.AT_RECURSIVE if recursive else 0
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)
        if kind in _KINDS:
            raise FailedPrecondition(f"{field}: {path} is {_KINDS[kind]}: it can't be used in a virtual machine")
        tree = sys.open_tree(sys.AT_FDCWD, path, sys.OPEN_TREE_CLONE | sys.OPEN_TREE_CLOEXEC | deep)
    except OSError as error:
        raise InvalidArgument(f"{field}: {path}: {error.strerror}") from None
    try:
        sys.mount_setattr(
            tree, "", sys.AT_EMPTY_PATH | deep,
            attr_set=sys.MOUNT_ATTR_NODEV | (sys.MOUNT_ATTR_RDONLY if read_only_below else 0),
            propagation=sys.MS_SLAVE if follows_host else sys.MS_PRIVATE,
        )  # fmt: skip
        if read_only:
            sys.mount_setattr(tree, "", sys.AT_EMPTY_PATH, attr_set=sys.MOUNT_ATTR_RDONLY)
    except BaseException:
        os.close(tree)
        raise
    return tree


class Share:
    """The directory. To be made and used in the keeper's own mount namespace only. `followed`: mount namespaces that
    are copied from it get what is mounted here later, too."""

    def __init__(self, directory: Path, *, followed: bool = False) -> None:
        self.directory = directory
        directory.mkdir(mode=0o700, exist_ok=True)
        mounts.tmpfs(directory, size_bytes=4 << 20, mode=0o755, name="podwright-vm")
        if followed:
            sys.mount(None, os.fspath(directory), None, sys.MS_SHARED)

    def attach(self, container_id: str, name: str, tree: int) -> str:
        """Mount a tree that came from `open_mount`; the path that the agent has for it."""
        top = self.directory / container_id
        top.mkdir(mode=0o755, exist_ok=True)
        target = top / name
        if stat.S_ISDIR(os.fstat(tree).st_mode):
            target.mkdir(mode=0o755)
        else:
            target.touch(mode=0o644)
        sys.move_mount(tree, "", sys.AT_FDCWD, os.fspath(target), sys.MOVE_MOUNT_F_EMPTY_PATH)
        return f"share:{container_id}/{name}"

    def detach(self, container_id: str) -> None:
        """Unmount all of a container's; idempotent. Nothing below a mount is ever removed."""
        top = self.directory / container_id
        mounts.unmount_tree(top)
        if not top.exists():
            return
        for target in top.iterdir():
            if target.is_dir():
                target.rmdir()
            else:
                target.unlink()
        top.rmdir()
