"""Members of a layer to a tree of files, through directory descriptors, following no symlink of the kernel's.

Called by the sandboxed child of the layer worker, which owns an empty directory. All that exists in the tree was
made here, so where a path leads is known without asking: symlinks that the layer itself made are resolved in
Python, as a process chrooted into the tree would, and every step on disk is an openat(2) with O_NOFOLLOW.

What can't be decided without the layers beneath is reported, not guessed: directories the layer never describes,
hard links to files it doesn't hold, opaque directories (their xattr needs more privilege than this child has).
OCI image-spec, layer.md, "Applying Changesets".
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from podwright.snapshot import tarstream
from podwright.snapshot.tarstream import Member, printable

_WHITEOUT, _OPAQUE, _AUFS = b".wh.", b".wh..wh..opq", b".wh..wh."
_DISK_BLOCK = 4096
_MAX_PATH_BYTES, _MAX_DEPTH, _MAX_LINKS = 4096, 512, 40
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Forgetting a directory looks at all others, so a layer that does little else must end.
_MAX_REPLACED = 10_000
_MAX_ID = 2**32 - 2  # chown(2): -1 means "leave it"
_MAX_TIME_NS = 2**33 * 1_000_000_000
_DEFAULT_ACL = b"system.posix_acl_default"
_XATTRS = (b"security.capability", b"system.posix_acl_access", _DEFAULT_ACL)


class Unacceptable(Exception):
    """An entry that no layer may have. The message names it."""


class LimitExceeded(Exception):
    """The layer has more of something than is allowed."""


@dataclass
class Found:
    """What the extraction learned. Paths are relative, without a leading slash; b'' is the root."""

    entries: int = 0
    disk_bytes: int = 0
    implicit: set[bytes] = field(default_factory=set)
    opaque: set[bytes] = field(default_factory=set)
    links: list[tuple[bytes, bytes]] = field(default_factory=list)


class Tree:
    """The tree below a directory descriptor. `add` every member, then `finish`."""

    def __init__(self, root_fd: int, *, max_entries: int) -> None:
        self.found = Found(implicit={b""})
        self._max_entries = max_entries
        self._root_fd = root_fd
        self._walk: list[tuple[bytes, int]] = []  # open directories from the root to where we are
        self._directories: set[bytes] = {b""}
        self._symlinks: dict[bytes, bytes] = {}
        self._parents: dict[bytes, bytes] = {}  # parent as written → where it really is
        self._whiteouts: set[bytes] = set()
        self._replaced = 0
        self._late: dict[bytes, Member] = {}  # directories, for what making entries inside would change or inherit

    def add(self, member: Member, copy: Callable[[int, Member], None]) -> None:
        """Make one entry. `copy(fd, member)` writes a regular file's data. Raises Unacceptable, LimitExceeded."""
        self.found.entries += 1
        if self.found.entries > self._max_entries:
            raise LimitExceeded(f"it has more than {self._max_entries} entries")
        try:
            self._add(member, copy)
        except OSError as error:
            raise _explain(error, member) from error

    def _add(self, member: Member, copy: Callable[[int, Member], None]) -> None:
        parts = _split(member.name)
        if not (0 <= member.uid <= _MAX_ID and 0 <= member.gid <= _MAX_ID):
            raise Unacceptable(f"entry {printable(member.name)}: owner {member.uid}:{member.gid} is out of range")
        if not parts:
            if member.kind != tarstream.DIRECTORY:
                raise Unacceptable(f"entry {printable(member.name)} would replace the root")
            self._describe_directory(b"", self._root_fd, member)
            return
        parent = self._parent(parts[:-1])
        name = parts[-1]
        if name.startswith(_WHITEOUT):
            self._whiteout(parent, name, member)
            return
        path = parent + b"/" + name if parent else name
        parent_fd = self._open(parent)
        if member.kind == tarstream.DIRECTORY:
            self._directory(path, name, parent_fd, member)
        else:
            self._not_directory(path, name, parent_fd, member, copy)

    # -- where paths lead

    def _parent(self, parts: list[bytes]) -> bytes:
        """Where the directory that is written as `parts` really is; makes what is missing of it."""
        written = b"/".join(parts)
        known = self._parents.get(written)
        if known is None:
            known = self._resolve(parts) if self._symlinks else written
            self._make_missing(known)
            self._parents[written] = known
        return known

    def _resolve(self, parts: list[bytes]) -> bytes:
        pending, here, followed = list(reversed(parts)), [b""], 0
        while pending:
            name = pending.pop()
            if name == b"..":
                here = here[:-1] or [b""]
                continue
            path = here[-1] + b"/" + name if here[-1] else name
            target = self._symlinks.get(path)
            if target is None:
                here.append(path)
                continue
            followed += 1
            if followed > _MAX_LINKS or len(pending) + len(here) > _MAX_PATH_BYTES:
                raise Unacceptable(f"entry below {printable(b'/'.join(parts))}: too many symlinks")
            if target.startswith(b"/"):
                here = [b""]
            pending += [part for part in reversed(target.split(b"/")) if part not in (b"", b".")]
        return here[-1]

    def _make_missing(self, path: bytes) -> None:
        """Directories that the layer uses and has not described (yet): 0755, remembered as implicit."""
        if path in self._directories:
            return
        parent, _, name = path.rpartition(b"/")
        self._make_missing(parent)
        os.mkdir(name, 0o755, dir_fd=self._open(parent))
        self._directories.add(path)
        self.found.implicit.add(path)

    def _open(self, path: bytes) -> int:
        """A descriptor of directory `path`; the walk is kept, because neighbours come together in archives."""
        if self._walk and self._walk[-1][0] == path:
            return self._walk[-1][1]
        while self._walk and not path.startswith(self._walk[-1][0] + b"/"):
            os.close(self._walk.pop()[1])
        here, fd = self._walk[-1] if self._walk else (b"", self._root_fd)
        rest = path[len(here) + 1 :] if here else path
        for name in rest.split(b"/") if rest else ():
            here = here + b"/" + name if here else name
            fd = os.open(name, _DIRECTORY_FLAGS, dir_fd=fd)
            self._walk.append((here, fd))
        return fd

    def _forget(self, path: bytes) -> None:
        """`path` is replaced by something else: nothing known about it or below it holds any more."""
        inside = path + b"/"
        while self._walk and (self._walk[-1][0] == path or self._walk[-1][0].startswith(inside)):
            os.close(self._walk.pop()[1])
        self._parents.clear()
        self._symlinks.pop(path, None)
        if path in self._directories:
            for known in (self._directories, self.found.implicit, self.found.opaque, self._whiteouts):
                known.difference_update([p for p in known if p == path or p.startswith(inside)])
            self._symlinks = {p: t for p, t in self._symlinks.items() if not p.startswith(inside)}
            self._late = {p: m for p, m in self._late.items() if p != path and not p.startswith(inside)}

    def _make_room(self, path: bytes, name: bytes, parent_fd: int) -> None:
        """A later entry of the same name wins, whatever the earlier one was."""
        is_directory = path in self._directories
        self._replaced += is_directory
        if self._replaced > _MAX_REPLACED:
            raise LimitExceeded(f"it replaces more than {_MAX_REPLACED} of its own directories")
        self._forget(path)
        if is_directory:
            shutil.rmtree(name, dir_fd=parent_fd)
        else:
            os.unlink(name, dir_fd=parent_fd)

    # -- kinds of entries

    def _directory(self, path: bytes, name: bytes, parent_fd: int, member: Member) -> None:
        if path not in self._directories:
            try:
                os.mkdir(name, 0o700, dir_fd=parent_fd)
            except FileExistsError:
                self._make_room(path, name, parent_fd)
                os.mkdir(name, 0o700, dir_fd=parent_fd)
            self.found.disk_bytes += _DISK_BLOCK
            self._directories.add(path)
        self._describe_directory(path, self._open(path), member)

    def _describe_directory(self, path: bytes, fd: int, member: Member) -> None:
        self.found.implicit.discard(path)
        os.fchown(fd, member.uid, member.gid)
        os.fchmod(fd, member.mode)
        _set_xattrs(fd, member, [name for name in member.xattrs if name != _DEFAULT_ACL])
        self._late[path] = member

    def _not_directory(
        self, path: bytes, name: bytes, parent_fd: int, member: Member, copy: Callable[[int, Member], None]
    ) -> None:
        make = self._make_hard_link if member.kind == tarstream.HARD_LINK else self._make_node
        if member.kind == tarstream.REGULAR:
            self._file(path, name, parent_fd, member, copy)
            return
        try:
            make(path, name, parent_fd, member)
        except FileExistsError:
            self._make_room(path, name, parent_fd)
            make(path, name, parent_fd, member)

    def _file(
        self, path: bytes, name: bytes, parent_fd: int, member: Member, copy: Callable[[int, Member], None]
    ) -> None:
        try:
            fd = os.open(name, _FILE_FLAGS, member.mode & 0o777, dir_fd=parent_fd)
        except FileExistsError:
            self._make_room(path, name, parent_fd)
            fd = os.open(name, _FILE_FLAGS, member.mode & 0o777, dir_fd=parent_fd)
        try:
            copy(fd, member)
            self.found.disk_bytes += -(-member.stored // _DISK_BLOCK) * _DISK_BLOCK
            os.fchown(fd, member.uid, member.gid)
            if member.mode & 0o7000:  # after chown, which clears setuid and setgid
                os.fchmod(fd, member.mode)
            if member.xattrs:  # after chown, which clears capabilities
                _set_xattrs(fd, member, member.xattrs)
            mtime = _clamp(member.mtime_ns)
            os.utime(fd, ns=(mtime, mtime))
        finally:
            os.close(fd)

    def _make_hard_link(self, path: bytes, name: bytes, parent_fd: int, member: Member) -> None:
        target = _split(member.link, link_of=member.name)
        if not target:
            raise Unacceptable(f"entry {printable(member.name)}: hard link to the root")
        target_parent = self._resolve(target[:-1]) if self._symlinks else b"/".join(target[:-1])
        target_path = target_parent + b"/" + target[-1] if target_parent else target[-1]
        if target_path == path:
            return
        if target_path in self._directories:
            raise Unacceptable(f"entry {printable(member.name)}: hard link to a directory")
        if target_parent not in self._directories:
            self.found.links.append((path, target_path))
            return
        # A second walk would close parent_fd; the target's directory is opened on its own.
        source_fd = self._open_apart(target_parent)
        try:
            os.link(target[-1], name, src_dir_fd=source_fd, dst_dir_fd=parent_fd, follow_symlinks=False)
        except FileNotFoundError:
            self.found.links.append((path, target_path))
        finally:
            os.close(source_fd)
        if target_path in self._symlinks:
            self._symlinks[path] = self._symlinks[target_path]

    def _open_apart(self, path: bytes) -> int:
        fd = os.dup(self._root_fd)
        for name in path.split(b"/") if path else ():
            try:
                inner = os.open(name, _DIRECTORY_FLAGS, dir_fd=fd)
            finally:
                os.close(fd)
            fd = inner
        return fd

    def _make_node(self, path: bytes, name: bytes, parent_fd: int, member: Member) -> None:
        mtime = _clamp(member.mtime_ns)
        if member.kind == tarstream.SYMLINK:
            os.symlink(member.link, name, dir_fd=parent_fd)
            self._symlinks[path] = member.link
        else:
            kinds = {tarstream.CHARACTER: stat.S_IFCHR, tarstream.BLOCK_DEVICE: stat.S_IFBLK}
            kind = kinds.get(member.kind, stat.S_IFIFO)
            os.mknod(name, kind | member.mode & 0o777, os.makedev(*member.device), dir_fd=parent_fd)
        os.chown(name, member.uid, member.gid, dir_fd=parent_fd, follow_symlinks=False)
        os.utime(name, ns=(mtime, mtime), dir_fd=parent_fd, follow_symlinks=False)

    # -- whiteouts

    def _whiteout(self, parent: bytes, name: bytes, member: Member) -> None:
        if name == _OPAQUE:
            self.found.opaque.add(parent)
        elif not name.startswith(_AUFS):  # those are AUFS's own bookkeeping
            hidden = name.removeprefix(_WHITEOUT)
            if hidden in (b"", b".", b".."):
                raise Unacceptable(f"entry {printable(member.name)}: a whiteout of nothing")
            self._whiteouts.add(parent + b"/" + hidden if parent else hidden)

    def finish(self) -> Found:
        """Make the whiteouts, then set the directories' times and default ACLs."""
        for path in sorted(self._whiteouts):
            self._make_whiteout(path)
        for path in sorted(self._late):
            member, fd = self._late[path], self._open(path)
            if _DEFAULT_ACL in member.xattrs:
                _set_xattrs(fd, member, [_DEFAULT_ACL])
            mtime = _clamp(member.mtime_ns)
            os.utime(fd, ns=(mtime, mtime))
        while self._walk:
            os.close(self._walk.pop()[1])
        return self.found

    def _make_whiteout(self, path: bytes) -> None:
        """A character device 0/0 hides what is beneath. kernel.org: filesystems/overlayfs, "whiteouts and opaque".

        What the same layer also holds stays: a file hides what is beneath anyway, a directory becomes opaque.
        """
        parent, _, name = path.rpartition(b"/")
        if path in self._directories:
            self.found.opaque.add(path)
            return
        try:
            os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=self._open(parent))
        except FileExistsError:
            return


def _split(name: bytes, *, link_of: bytes | None = None) -> list[bytes]:
    """The parts of an entry's name, or of where the hard link `link_of` leads."""
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    what = f"entry {printable(name)}" if link_of is None else f"entry {printable(link_of)}: link to {printable(name)}"
    if b".." in parts:
        raise Unacceptable(f"{what} escapes the root")
    if len(name) > _MAX_PATH_BYTES or len(parts) > _MAX_DEPTH:
        raise Unacceptable(f"{what}: a path of more than {_MAX_PATH_BYTES} bytes or {_MAX_DEPTH} levels")
    return parts


def _clamp(mtime_ns: int) -> int:
    """Times before 1970 or after 2242 break programs more than they help; Go's readers of layers clamp too."""
    return mtime_ns if 0 <= mtime_ns <= _MAX_TIME_NS else 0


def _set_xattrs(fd: int, member: Member, names: Iterable[bytes]) -> None:
    """user.*, file capabilities and ACLs. trusted.* would speak to overlayfs, other security.* to the host's LSM."""
    for name in names:
        if not (name.startswith(b"user.") or name in _XATTRS):
            continue
        try:
            os.setxattr(fd, name, member.xattrs[name])
        except OSError as error:
            if error.errno != errno.ENOTSUP:
                raise


_HOSTILE = (
    errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EINVAL, errno.EFBIG, errno.EEXIST,
    errno.ERANGE, errno.E2BIG, errno.EMLINK, errno.EOVERFLOW, errno.EPERM, errno.ENOENT,
)  # fmt: skip


def _explain(error: OSError, member: Member) -> Exception:
    """Errors that the entry itself asks for are the layer's fault; others (no space, I/O) stay what they are."""
    if error.errno in _HOSTILE:
        return Unacceptable(f"entry {printable(member.name)}: {os.strerror(error.errno or 0)}")
    return error
