"""Bridges: what makes a layer fit that was written by hand instead of taken from a file system.

Tools that append files to an image (bazel, ko, crane) write layers that hold `etc/app.conf` and no entry for `etc`,
or that go through a symlink of a lower layer (`lib/x.so` where `lib` leads to `usr/lib`), or hard links to files of
lower layers. Unpacked onto a mounted parent, as other runtimes do one layer after the other, such entries find what
they need. Here layers are unpacked at the same time, each alone, so the difference is made up afterwards: a small
directory that lies above the layer in this one stack and holds the lower directories' attributes, the symlink and
what the layer meant to put behind it, and copies of linked files. Ordinary layers never get here.

Paths are resolved by the kernel inside the union of the lower layers; the trees are as hostile as the layers are.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from dataclasses import dataclass, field
from pathlib import Path

from podwright.base.errors import InvalidArgument
from podwright.linux import syscalls as sys

OPAQUE_XATTR = "trusted.overlay.opaque"
_HERE = sys.RESOLVE_BENEATH | sys.RESOLVE_NO_SYMLINKS
_IN_ROOT = sys.RESOLVE_IN_ROOT | sys.RESOLVE_NO_MAGICLINKS
_LOOK = os.O_PATH | os.O_NOFOLLOW
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


@dataclass(frozen=True)
class Odd:
    """What a layer leaves to those beneath it. Relative paths."""

    implicit: frozenset[bytes]
    opaque: frozenset[bytes]
    links: tuple[tuple[bytes, bytes], ...]

    @property
    def needs_bridge(self) -> bool:
        return bool(self.links or self.implicit - {b""})


def build_bridge(target: Path, layer: Path, odd: Odd, lower_fd: int) -> bool:
    """Fill the empty directory `target` with what `layer` needs over the union `lower_fd`; False: it needs nothing.

    Blocks: call it in a thread. Raises InvalidArgument for a hard link to nothing.
    """
    root_fd, layer_fd = (os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) for path in (target, layer))
    try:
        bridge = _Bridge(root_fd, layer_fd, odd, lower_fd)
        for path in sorted(odd.implicit - {b""}):
            bridge.settle_directory(path)
        for path, linked in odd.links:
            bridge.copy_linked(path, linked)
        bridge.finish()
        return bridge.made_something
    finally:
        os.close(root_fd)
        os.close(layer_fd)


@dataclass
class _Bridge:
    root_fd: int
    layer_fd: int
    odd: Odd
    lower_fd: int
    made_something: bool = False
    _moved: dict[bytes, bytes] = field(default_factory=dict)  # implicit directory → where the lower symlink leads
    _directories: dict[bytes, bytes] = field(default_factory=dict)  # made here → the layer's path it stands for
    _copied: dict[bytes, bytes] = field(default_factory=dict)

    def settle_directory(self, path: bytes) -> None:
        """An implicit directory takes after the one beneath it."""
        if self._inside(path, self.odd.opaque) or self._inside(path, self._moved):
            return  # nothing beneath shows, or it moves with the directory it is in
        fd = _look(self.lower_fd, path)
        if fd is None:
            return
        try:
            kind = os.fstat(fd).st_mode
        finally:
            os.close(fd)
        if stat.S_ISDIR(kind):
            self._directory(path)
        elif stat.S_ISLNK(kind):
            self._through_symlink(path)

    def _inside(self, path: bytes, directories: frozenset[bytes] | dict[bytes, bytes]) -> bool:
        parts = path.split(b"/")
        return any(b"/".join(parts[:n]) in directories for n in range(1, len(parts)))

    def _directory(self, path: bytes, stands_for: bytes | None = None) -> None:
        """Make `path` and what is above it; their attributes come in `finish`."""
        if not path or path in self._directories:
            return
        self._directory(path.rpartition(b"/")[0])
        fd = self._open_parent(path)
        try:
            os.mkdir(path.rpartition(b"/")[2], 0o755, dir_fd=fd)
        finally:
            os.close(fd)
        self._directories[path] = path if stands_for is None else stands_for
        self.made_something = True

    def _open_parent(self, path: bytes) -> int:
        return sys.openat2(self.root_fd, path.rpartition(b"/")[0] or b".", os.O_RDONLY | os.O_DIRECTORY, 0, _HERE)

    def _through_symlink(self, path: bytes) -> None:
        """The layer's `path` was meant to be reached through a symlink: show the symlink, move the rest behind it."""
        real = _real_path(self.lower_fd, path)
        if real is None:  # it leads nowhere, so the layer's directory takes its place
            return
        self._moved[path] = real
        self._directory(path.rpartition(b"/")[0])
        self._copy_node(self.lower_fd, path, path)
        self._graft(path, real)

    def _graft(self, source: bytes, destination: bytes) -> None:
        """Put the layer's directory `source` at `destination`, file by file, as hard links."""
        self._directory(destination, source)
        source_fd = sys.openat2(self.layer_fd, source, os.O_RDONLY | os.O_DIRECTORY, 0, _HERE)
        try:
            with os.scandir(source_fd) as entries:
                found = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
            for name, is_directory in sorted(found):
                inner, outer = source + b"/" + name, destination + b"/" + name
                if is_directory:
                    self._graft(inner, outer)
                else:
                    self._link(source_fd, name, outer)
        finally:
            os.close(source_fd)

    def _link(self, source_fd: int, name: bytes, path: bytes) -> None:
        fd = self._open_parent(path)
        try:
            os.link(name, path.rpartition(b"/")[2], src_dir_fd=source_fd, dst_dir_fd=fd, follow_symlinks=False)
        except FileExistsError:
            pass  # the layer says the same path twice
        finally:
            os.close(fd)

    def copy_linked(self, path: bytes, linked: bytes) -> None:
        """A hard link to a lower file: overlayfs, too, copies a file up before it links to it."""
        for directory, real in self._moved.items():
            if path.startswith(directory + b"/"):
                path = real + path[len(directory) :]
        self._directory(path.rpartition(b"/")[0])
        if linked in self._copied:
            fd = self._open_parent(self._copied[linked])
            try:
                self._link(fd, self._copied[linked].rpartition(b"/")[2], path)
            finally:
                os.close(fd)
            return
        real_parent = _real_path(self.lower_fd, linked.rpartition(b"/")[0] or b".")
        source = None if real_parent is None else (real_parent + b"/" + linked.rpartition(b"/")[2]).lstrip(b"/")
        if source is None or not self._copy_node(self.lower_fd, source, path):
            raise InvalidArgument(f"hard link {os.fsdecode(path)!r} to {os.fsdecode(linked)!r}, which is in no layer")
        self._copied[linked] = path

    def _copy_node(self, root_fd: int, source: bytes, path: bytes) -> bool:
        """Copy a symlink, file or device with its attributes; False when it isn't there or is a directory."""
        found = _look(root_fd, source)
        if found is None:
            return False
        fd = self._open_parent(path)
        name = path.rpartition(b"/")[2]
        try:
            info = os.fstat(found)
            if stat.S_ISDIR(info.st_mode):
                return False
            self.made_something = True
            if stat.S_ISREG(info.st_mode):
                self._copy_file(root_fd, source, fd, name)
                return True
            if stat.S_ISLNK(info.st_mode):
                os.symlink(os.readlink(b"", dir_fd=found), name, dir_fd=fd)
            else:
                os.mknod(name, info.st_mode, info.st_rdev, dir_fd=fd)
            os.chown(name, info.st_uid, info.st_gid, dir_fd=fd, follow_symlinks=False)
            os.utime(name, ns=(info.st_mtime_ns, info.st_mtime_ns), dir_fd=fd, follow_symlinks=False)
            return True
        finally:
            os.close(found)
            os.close(fd)

    def _copy_file(self, root_fd: int, source: bytes, parent_fd: int, name: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with (
            open(sys.openat2(root_fd, source, os.O_RDONLY, 0, _HERE), "rb") as reading,
            open(os.open(name, flags, 0o600, dir_fd=parent_fd), "wb") as writing,
        ):
            shutil.copyfileobj(reading, writing, 1024 * 1024)
            writing.flush()
            copy_attributes(reading.fileno(), writing.fileno())

    def finish(self) -> None:
        """Attributes of the directories, the deepest first: making something inside changes a directory's time."""
        for path in sorted(self._directories, reverse=True):
            described = self._directories[path]
            by_layer = described not in self.odd.implicit
            source = _look(self.layer_fd, described) if by_layer else None
            source = _look(self.lower_fd, path) if source is None else source
            if source is None:  # only the layer has it, and only in passing
                continue
            try:
                fd = sys.openat2(self.root_fd, path, os.O_RDONLY | os.O_DIRECTORY, 0, _HERE)
                try:
                    copy_attributes(source, fd)
                    if described != path and described in self.odd.opaque:
                        os.setxattr(fd, OPAQUE_XATTR, b"y")
                finally:
                    os.close(fd)
            finally:
                os.close(source)


def _look(root_fd: int, path: bytes) -> int | None:
    """An O_PATH descriptor of what is exactly at `path`, a symlink included; None when nothing is."""
    try:
        return sys.openat2(root_fd, path, _LOOK, 0, _HERE)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise


def _real_path(root_fd: int, path: bytes) -> bytes | None:
    """Where a directory that is reached through symlinks really is, in the tree below `root_fd`."""
    try:
        fd = sys.openat2(root_fd, path, os.O_PATH | os.O_DIRECTORY, 0, _IN_ROOT)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise
    try:
        top, found = (os.fsencode(Path(f"/proc/self/fd/{n}").readlink()) for n in (root_fd, fd))
    finally:
        os.close(fd)
    return found[len(top.rstrip(b"/")) :].lstrip(b"/")


def copy_attributes(source_fd: int, target_fd: int) -> None:
    """Owner, mode, xattrs (not overlayfs's own) and times of one file or directory to another, by descriptor.

    `source_fd` may be an O_PATH one. /proc gives it a name that xattr calls accept.
    """
    info = os.fstat(source_fd)
    os.fchown(target_fd, info.st_uid, info.st_gid)
    os.fchmod(target_fd, stat.S_IMODE(info.st_mode))
    source = f"/proc/self/fd/{source_fd}"
    for name in os.listxattr(source):
        if not name.startswith("trusted.overlay."):
            os.setxattr(target_fd, name, os.getxattr(source, name))
    os.utime(target_fd, ns=(info.st_atime_ns, info.st_mtime_ns))
