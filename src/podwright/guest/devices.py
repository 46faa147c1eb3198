"""A container's /dev. OCI runtime specification, config-linux.md, "Devices" and "Default Devices"."""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from podwright.guest.failures import UNSUPPORTED, Failure
from podwright.guest.fields import Object, get, objects
from podwright.guest.mounts import open_target
from podwright.linux import syscalls

_DEFAULT = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")
_LINKS = {
    "/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2", "/dev/ptmx": "pts/ptmx",
}  # fmt: skip


class Node(NamedTuple):
    """mknod(2)."""

    path: str
    mode: int
    number: int
    uid: int
    gid: int


def nodes(spec: Object) -> list[Node]:
    """The default devices and those of the specification, with the machine's own numbers. Raises Failure."""
    linux = get(spec, "linux", dict, {}, within="spec.")
    made = [_node(path, {}) for path in _DEFAULT]
    return made + [_node(get(entry, "path", str), entry) for entry in objects(linux, "devices", within="spec.linux.")]


def _node(path: str, entry: Object) -> Node:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        found = None
    if (
        found is None
        or not path.startswith("/dev/")
        or not (stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode))
    ):
        raise Failure(UNSUPPORTED, f"spec.linux.devices: the machine has no {path}; devices of the host can't be lent")
    mode = stat.S_IFMT(found.st_mode) | get(entry, "fileMode", int, 0o666)
    return Node(path, mode, found.st_rdev, get(entry, "uid", int, 0), get(entry, "gid", int, 0))


def make(wanted: list[Node], root: int) -> None:
    """In the container's /dev, below `root`. Raises OSError."""
    if not _has_own_dev(root):
        return
    before = os.umask(0)
    try:
        for node in wanted:
            _make(node, root)
        for path, target in _LINKS.items():
            directory = open_target(root, os.path.dirname(path), directory=True)
            try:
                os.symlink(target, os.path.basename(path), dir_fd=directory)
            except FileExistsError:
                continue
            finally:
                os.close(directory)
    finally:
        os.umask(before)


def _has_own_dev(root: int) -> bool:
    """A /dev that is the image's or a volume is left alone."""
    dev = open_target(root, "/dev", directory=True)
    try:
        return os.fstat(dev).st_dev != os.fstat(root).st_dev
    finally:
        os.close(dev)


def _make(node: Node, root: int) -> None:
    directory = open_target(root, os.path.dirname(node.path), directory=True)
    name = os.path.basename(node.path)
    try:
        os.mknod(name, node.mode, node.number, dir_fd=directory)
        os.chown(name, node.uid, node.gid, dir_fd=directory)
    except FileExistsError:
        return
    finally:
        os.close(directory)


def bind_console(terminal: str) -> None:
    """The terminal is /dev/console as well. Inside the container."""
    if not os.path.exists("/dev/console"):
        os.close(os.open("/dev/console", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    syscalls.mount(terminal, "/dev/console", None, syscalls.MS_BIND)
