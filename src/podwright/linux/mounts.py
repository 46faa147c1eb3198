"""Mounts by name: bind, tmpfs, unmount, and reading /proc/self/mountinfo."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from podwright.linux import syscalls as sys

_OCTAL = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True)
class MountInfo:
    """One line of /proc/PID/mountinfo, proc(5). `optional` holds shared:N, master:N, …; `options` per mount."""

    mount_id: int
    parent_id: int
    root: str
    target: str
    options: tuple[str, ...]
    optional: tuple[str, ...]
    fstype: str
    source: str
    super_options: tuple[str, ...]

    @property
    def shared(self) -> bool:
        return any(tag.startswith("shared:") for tag in self.optional)

    @property
    def slave(self) -> bool:
        return any(tag.startswith("master:") for tag in self.optional)


def mountinfo(pid: str = "self") -> Iterator[MountInfo]:
    """All mounts of a process, in mount order."""
    for line in Path(f"/proc/{pid}/mountinfo").read_bytes().splitlines():
        left, right = line.split(b" - ", 1)
        words, tail = left.split(b" "), right.split(b" ", 2)
        yield MountInfo(
            int(words[0]), int(words[1]), _unescape(words[3]), _unescape(words[4]),
            tuple(words[5].decode().split(",")), tuple(word.decode() for word in words[6:]),
            tail[0].decode(), _unescape(tail[1]), tuple(os.fsdecode(tail[2]).split(",")),
        )  # fmt: skip


def mounts_under(directory: Path) -> list[MountInfo]:
    """Mounts at or below `directory`, deepest last."""
    top = os.fspath(directory)
    return [m for m in mountinfo() if m.target == top or m.target.startswith(top.rstrip("/") + "/")]


class MountTable:
    """The mounts of one moment, read when first asked: for many questions about them."""

    @cached_property
    def _by_id(self) -> dict[int, MountInfo]:
        return {m.mount_id: m for m in mountinfo()}

    def holding(self, path: Path) -> MountInfo | None:
        """The mount that holds `path`, or will hold it when it is made; None for one of another mount namespace.

        The kernel says which: where a mount hides another one, comparing paths would be wrong. proc(5), fdinfo.
        """
        while True:
            try:
                fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
                break
            except (FileNotFoundError, NotADirectoryError):
                path = path.parent
        try:
            info = Path(f"/proc/self/fdinfo/{fd}").read_text()
        finally:
            os.close(fd)
        return self._by_id.get(int(info.partition("mnt_id:")[2].split()[0]))


def mount_of(path: Path) -> MountInfo | None:
    """The mount that holds `path` (which need not exist)."""
    return MountTable().holding(path)


def bind(source: Path | str, target: Path | str, *, recursive: bool = False, read_only: bool = False) -> None:
    """Bind `source` on `target`, both existing. mount(2), "Creating a bind mount"."""
    sys.mount(os.fspath(source), os.fspath(target), None, sys.MS_BIND | (sys.MS_REC if recursive else 0))
    if read_only:
        sys.mount(None, os.fspath(target), None, sys.MS_REMOUNT | sys.MS_BIND | sys.MS_RDONLY)


def tmpfs(
    target: Path,
    *,
    size_bytes: int,
    mode: int = 0o1777,
    name: str = "tmpfs",
    executable: bool = False,
    owner: tuple[int, int] = (0, 0),
    label: str = "",
) -> None:
    """A tmpfs of at most `size_bytes`, nosuid, nodev, and noexec unless `executable`. tmpfs(5).

    `label`: the SELinux context of all its files.
    """
    flags = sys.MS_NOSUID | sys.MS_NODEV | (0 if executable else sys.MS_NOEXEC)
    options = f"mode={mode:o},size={size_bytes},uid={owner[0]},gid={owner[1]}" + (
        f',context="{label}"' if label else ""
    )
    sys.mount(name, os.fspath(target), "tmpfs", flags, options)


def is_mount_point(path: Path) -> bool:
    """Whether something is mounted exactly at `path`."""
    try:
        here, parent = os.lstat(path), os.lstat(path.parent)
    except FileNotFoundError:
        return False
    if here.st_dev != parent.st_dev:
        return True
    return any(m.target == os.fspath(path) for m in mountinfo())  # a bind mount within one file system


def unmount(target: Path, *, detach: bool = False) -> None:
    """Unmount everything stacked at `target`; absent or not mounted is success. umount2(2)."""
    flags = sys.UMOUNT_NOFOLLOW | (sys.MNT_DETACH if detach else 0)
    while True:
        try:
            sys.umount2(os.fspath(target), flags)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return
            if error.errno == errno.EBUSY and not detach:
                flags |= sys.MNT_DETACH
                continue
            raise


def unmount_tree(directory: Path) -> None:
    """Unmount all that is mounted at or below `directory`, deepest first."""
    for m in reversed(mounts_under(directory)):
        unmount(Path(m.target), detach=True)


def _unescape(field: bytes) -> str:
    return os.fsdecode(_OCTAL.sub(lambda m: bytes([int(m[1], 8)]), field))
