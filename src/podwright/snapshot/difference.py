"""What a container wrote, as a layer: the upper directory of its overlay in the words of an image's changesets.

The reverse of `extract.py`: overlayfs's whiteouts and opaque directories become `.wh.` entries. OCI image-spec,
layer.md, "Representing Changes"; kernel.org: filesystems/overlayfs. The tree is the container's, so it is walked
by descriptors, and no symlink in it is followed; nobody may be writing to it meanwhile.
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from podwright.base.errors import FailedPrecondition
from podwright.base.log import get_logger
from podwright.snapshot.bridge import OPAQUE_XATTR

log = get_logger(__name__)

_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
# Of what is renamed or only described, the rest would lie in a layer beneath.
_ELSEWHERE = ("trusted.overlay.redirect", "trusted.overlay.metacopy")
_KEPT = ("user.", "security.capability", "system.posix_acl_")
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Output(Protocol):
    """Takes all bytes it is given, or raises."""

    def write(self, data: bytes, /) -> int: ...


def write_difference(upper: Path, out: Output) -> None:
    """Write the directory `upper` as a tar archive, without compression. Blocks: call it in a thread.

    Raises FailedPrecondition for what only a mount could put together, OSError, and what `out.write` raises.
    """
    # Its types want a file that can be read as well; a stream is only written to.
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
        _Walk(tar).directory(os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), "")


class _Walk:
    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._names: dict[tuple[int, int], str] = {}  # files with several names: inode → the first one

    def directory(self, fd: int, path: str) -> None:
        """The directory itself, then what is in it. Closes `fd`."""
        try:
            names = _xattrs(fd)
            _refuse_elsewhere(names, path)
            self._tar.addfile(_described(tarfile.TarInfo(path or "./"), os.fstat(fd), tarfile.DIRTYPE, fd, names))
            if OPAQUE_XATTR in names and os.getxattr(fd, OPAQUE_XATTR) == b"y":
                self._tar.addfile(tarfile.TarInfo(_joined(path, _OPAQUE)))
            with os.scandir(fd) as entries:
                found = sorted(entry.name for entry in entries)
            for name in found:
                self._entry(fd, name, _joined(path, name))
        finally:
            os.close(fd)

    def _entry(self, parent: int, name: str, path: str) -> None:
        info = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if name.startswith(_WHITEOUT):
            log.warning("a file's name means something else in a layer, so it is left out", path=path)
        elif stat.S_ISDIR(info.st_mode):
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            self.directory(os.open(name, flags, dir_fd=parent), path)
        elif stat.S_ISCHR(info.st_mode) and info.st_rdev == 0:
            self._tar.addfile(tarfile.TarInfo(_joined(path.rpartition("/")[0], _WHITEOUT + name)))
        elif info.st_nlink > 1 and (first := self._names.setdefault((info.st_dev, info.st_ino), path)) != path:
            link = _described(tarfile.TarInfo(path), info, tarfile.LNKTYPE)
            link.linkname = first
            self._tar.addfile(link)
        elif stat.S_ISREG(info.st_mode):
            self._file(parent, name, path)
        else:
            self._special(parent, name, path, info)

    def _file(self, parent: int, name: str, path: str) -> None:
        with open(os.open(name, _FILE_FLAGS, dir_fd=parent), "rb") as file:
            info, names = os.fstat(file.fileno()), _xattrs(file.fileno())
            _refuse_elsewhere(names, path)
            entry = _described(tarfile.TarInfo(path), info, tarfile.REGTYPE, file.fileno(), names)
            entry.size = info.st_size
            self._tar.addfile(entry, file)

    def _special(self, parent: int, name: str, path: str, info: os.stat_result) -> None:
        """Symlinks, devices and FIFOs; a socket is nothing without who listens."""
        kinds: list[tuple[Callable[[int], bool], bytes]] = [
            (stat.S_ISLNK, tarfile.SYMTYPE), (stat.S_ISCHR, tarfile.CHRTYPE), (stat.S_ISBLK, tarfile.BLKTYPE),
            (stat.S_ISFIFO, tarfile.FIFOTYPE),
        ]  # fmt: skip
        kind = next((kind for is_one, kind in kinds if is_one(info.st_mode)), None)
        if kind is None:
            return
        entry = _described(tarfile.TarInfo(path), info, kind)
        if kind == tarfile.SYMTYPE:
            entry.linkname = os.readlink(name, dir_fd=parent)
        elif kind != tarfile.FIFOTYPE:
            entry.devmajor, entry.devminor = os.major(info.st_rdev), os.minor(info.st_rdev)
        self._tar.addfile(entry)


def _described(
    entry: tarfile.TarInfo, info: os.stat_result, kind: bytes, fd: int = -1, xattrs: tuple[str, ...] = ()
) -> tarfile.TarInfo:
    entry.type, entry.mode = kind, stat.S_IMODE(info.st_mode)
    entry.uid, entry.gid, entry.mtime = info.st_uid, info.st_gid, int(info.st_mtime)
    # tarfile writes what is no UTF-8 as the bytes that it was.
    entry.pax_headers = {
        f"SCHILY.xattr.{name}": os.getxattr(fd, name).decode(errors="surrogateescape")
        for name in xattrs
        if name.startswith(_KEPT)
    }
    return entry


def _xattrs(fd: int) -> tuple[str, ...]:
    try:
        return tuple(os.listxattr(fd))
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return ()


def _refuse_elsewhere(xattrs: tuple[str, ...], path: str) -> None:
    for name in _ELSEWHERE:
        if name in xattrs:
            raise FailedPrecondition(
                f"{path}: overlayfs holds it in part only ({name}); a checkpoint needs overlay mounts without "
                "redirect_dir and metacopy"
            )


def _joined(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name
