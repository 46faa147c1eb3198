"""A container's mounts: a list made before the fork (pure), and what the child does with it.

Targets are resolved inside the container's root whatever links an image has there (openat2(2), RESOLVE_IN_ROOT), and
mounted on by descriptor. mount(2), mount_namespaces(7), pivot_root(2).
"""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple

from podwright.guest.copies import copy_tree
from podwright.guest.failures import UNSUPPORTED, Failure
from podwright.guest.fields import Object, get, objects, strings
from podwright.guest.shares import SHM, shared_path
from podwright.linux import syscalls

_SET = {
    "ro": syscalls.MS_RDONLY, "nosuid": syscalls.MS_NOSUID, "nodev": syscalls.MS_NODEV, "noexec": syscalls.MS_NOEXEC,
    "sync": 16, "mand": 64, "dirsync": 128, "noatime": 1024, "nodiratime": 2048, "relatime": 1 << 21,
    "strictatime": 1 << 24, "bind": syscalls.MS_BIND, "rbind": syscalls.MS_BIND | syscalls.MS_REC,
}  # fmt: skip
_CLEAR = {
    "rw": syscalls.MS_RDONLY, "suid": syscalls.MS_NOSUID, "dev": syscalls.MS_NODEV, "exec": syscalls.MS_NOEXEC,
    "async": 16, "atime": 1024, "diratime": 2048, "norelatime": 1 << 21, "nostrictatime": 1 << 24, "defaults": 0,
}  # fmt: skip
_PROPAGATION = {
    "private": syscalls.MS_PRIVATE, "slave": syscalls.MS_SLAVE, "shared": syscalls.MS_SHARED, "unbindable": 1 << 17,
}  # fmt: skip
_REFUSED = ("idmap", "ridmap", "copy-symlink")
_KINDS = ("proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "bind", "overlay")


class Mount(NamedTuple):
    """One mount(2), with what has to follow it. `read_only_below` is rro; `copies` is tmpcopyup."""

    source: str
    target: str
    kind: str
    flags: int
    data: str
    propagation: int
    read_only_below: bool
    copies: bool = False


def plan(spec: Object) -> tuple[list[Mount], str]:
    """The mounts in the specification's order, and tmpfs options for the memory that containers share."""
    mounts, shm_options = [], ""
    for at, entry in enumerate(objects(spec, "mounts", within="spec.")):
        within = f"spec.mounts[{at}]."
        target, options = get(entry, "destination", str, within=within), strings(entry, "options", within=within)
        kind, source = get(entry, "type", str, "", within=within), get(entry, "source", str, "none", within=within)
        if target.rstrip("/") == "/dev/shm":
            shm_options = ",".join(option for option in options if option.startswith("size="))
            kept = [option for option in options if option in ("ro", "nosuid", "nodev", "noexec")]
            kind, source, options = "bind", SHM, ["bind", *kept]
        elif kind in ("bind", "none", "") or {"bind", "rbind"} & set(options):
            kind, source = "bind", shared_path(source, f"{within}source")
            options = options if {"bind", "rbind"} & set(options) else ["rbind", *options]
        if kind not in _KINDS:
            raise Failure(UNSUPPORTED, f"{within}type: {kind[:40]!r} can't be mounted in the machine")
        mounts.append(_mount(source, target, "cgroup2" if kind == "cgroup" else kind, options, within))
    return mounts, shm_options


def propagation(word: str) -> int:
    """linux.rootfsPropagation as flags; rprivate without one."""
    if word.removeprefix("r") not in _PROPAGATION and word not in _PROPAGATION:
        return syscalls.MS_PRIVATE | syscalls.MS_REC
    return _PROPAGATION[word if word in _PROPAGATION else word[1:]] | (0 if word in _PROPAGATION else syscalls.MS_REC)


def _mount(source: str, target: str, kind: str, options: list[str], within: str) -> Mount:
    flags = propagation = 0
    data = []
    for option in options:
        if option in _SET:
            flags |= _SET[option]
        elif option in _CLEAR:
            flags &= ~_CLEAR[option]
        elif option in _PROPAGATION:
            propagation = _PROPAGATION[option]
        elif option[:1] == "r" and option[1:] in _PROPAGATION:
            propagation = _PROPAGATION[option[1:]] | syscalls.MS_REC
        elif option in _REFUSED:
            raise Failure(UNSUPPORTED, f"{within}options: {option!r} can't be done in the machine")
        elif option not in ("rro", "tmpcopyup", "z", "Z"):
            data.append(option)
    return Mount(source, target, kind, flags, ",".join(data), propagation, "rro" in options, "tmpcopyup" in options)


def make(mounts: list[Mount], root: int) -> None:
    """All of them, below the directory `root` refers to. Raises OSError with the target's path."""
    for mount in mounts:
        try:
            _make(mount, root)
        except OSError as error:
            raise OSError(error.errno, f"mounting {mount.source} failed: {error.strerror}", mount.target) from None


def _make(mount: Mount, root: int) -> None:
    bind = mount.flags & syscalls.MS_BIND
    directory = not bind or stat.S_ISDIR(os.stat(mount.source).st_mode)
    target = open_target(root, mount.target, directory=directory)
    try:
        path = f"/proc/self/fd/{target}"
        if bind:
            syscalls.mount(mount.source, path, None, mount.flags & (syscalls.MS_BIND | syscalls.MS_REC))
        else:
            syscalls.mount(mount.source, path, mount.kind, mount.flags & ~_late(mount), mount.data or None)
            if mount.copies:
                _copy_up(root, mount.target, target)
    finally:
        os.close(target)
    # What the descriptor refers to is below the new mount: the way to it is opened again.
    target = open_target(root, mount.target, directory=directory)
    try:
        path = f"/proc/self/fd/{target}"
        flags = mount.flags & ~syscalls.MS_REC
        if bind and flags != syscalls.MS_BIND:
            syscalls.mount(None, path, None, flags | syscalls.MS_REMOUNT)
        if mount.read_only_below:
            syscalls.mount_setattr(target, "", syscalls.AT_EMPTY_PATH | syscalls.AT_RECURSIVE,
                                   attr_set=syscalls.MOUNT_ATTR_RDONLY)  # fmt: skip
        if mount.propagation:
            syscalls.mount(None, path, None, mount.propagation)
    finally:
        os.close(target)


def _late(mount: Mount) -> int:
    """A read-only tmpfs first gets its files, and places for other mounts: `finish` makes it read-only."""
    return mount.flags & syscalls.MS_RDONLY if mount.kind == "tmpfs" else 0


def finish(mounts: list[Mount]) -> None:
    """Inside the container, when everything is in its place."""
    for mount in mounts:
        if _late(mount):
            syscalls.mount(None, mount.target, None, mount.flags | syscalls.MS_REMOUNT, mount.data or None)


def _copy_up(root: int, path: str, below: int) -> None:
    """What the image has there into the file system that hides it: files, links and directories. Podman's tmpcopyup."""
    target = open_target(root, path, directory=True)
    try:
        source, copy = (os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd) for fd in (below, target))
        copy_tree(source, copy)
    finally:
        os.close(target)


def open_target(root: int, path: str, *, directory: bool) -> int:
    """A descriptor of `path` inside the root; made, with the directories on the way, when it isn't there."""
    try:
        return syscalls.openat2(root, path, os.O_PATH, resolve=syscalls.RESOLVE_IN_ROOT)
    except FileNotFoundError:
        pass
    parent, _, name = path.rstrip("/").rpartition("/")
    above = open_target(root, parent or "/", directory=True)
    try:
        if directory:
            os.mkdir(name, 0o755, dir_fd=above)
        else:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=above))
    except FileExistsError:
        raise OSError(errno.ELOOP, "a link without a target is in the way", path) from None
    finally:
        os.close(above)
    return syscalls.openat2(root, path, os.O_PATH, resolve=syscalls.RESOLVE_IN_ROOT)


def enter(root: int) -> None:
    """Make the root the only file system there is."""
    os.fchdir(root)
    # The new root is stacked over the old one, which is then taken away from below: no directory for it is needed.
    syscalls.pivot_root(".", ".")
    syscalls.umount2(".", syscalls.MNT_DETACH)
    os.chdir("/")


def mask(paths: list[str]) -> None:
    """Nothing can be read there. Paths that aren't there are."""
    for path in paths:
        try:
            syscalls.mount("/dev/null", path, None, syscalls.MS_BIND)
        except NotADirectoryError:
            syscalls.mount("tmpfs", path, "tmpfs", syscalls.MS_RDONLY, "size=0k")
        except FileNotFoundError:
            continue


def make_read_only(paths: list[str]) -> None:
    """Nothing can be written there, and keeps the flags it has. Paths that aren't there are."""
    for path in paths:
        try:
            syscalls.mount(path, path, None, syscalls.MS_BIND | syscalls.MS_REC)
        except FileNotFoundError:
            continue
        kept = os.statvfs(path).f_flag & (os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC)
        syscalls.mount(None, path, None, syscalls.MS_BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY | kept)
