"""Image archives as things to read from: directories and tars, plain or compressed, from anywhere.

`open_archive` gives an `Archive`: names → files. A tar is spooled first, because its table of contents comes last as
often as not and its files refer to each other; names are keys, never paths on our disk. Symlinks (old `docker save`
shares layers by them) are resolved among the names. Everything here blocks and belongs into a thread.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from podwright.base.errors import InvalidArgument, NotFound, ResourceExhausted
from podwright.base.files import disk_error, remove_tree
from podwright.linux.paths import open_in_root
from podwright.oci.image import CONFIG_LIMIT_BYTES
from podwright.snapshot.decompress import CompressionError, Source, open_stream
from podwright.snapshot.tarstream import HARD_LINK, REGULAR, SYMLINK, Member, TarError, TarReader, padding

_CHUNK_BYTES = 1024 * 1024
_MAX_ENTRIES = 100_000
_MAX_LINKS = 40


class Archive:
    """Files by their names in the archive, without a leading "./"."""

    def open(self, name: str) -> int:
        """A descriptor to read the file from, the caller's to close. Raises NotFound."""
        raise NotImplementedError

    def has(self, name: str) -> bool:
        try:
            os.close(self.open(name))
        except NotFound:
            return False
        return True

    def size(self, name: str) -> int:
        fd = self.open(name)
        try:
            return os.fstat(fd).st_size
        finally:
            os.close(fd)

    def read(self, name: str, *, limit_bytes: int = CONFIG_LIMIT_BYTES) -> bytes:
        """A small file. Raises NotFound, InvalidArgument when it isn't small."""
        fd = self.open(name)
        try:
            if os.fstat(fd).st_size > limit_bytes:
                raise InvalidArgument(f"{name} in the archive is larger than {limit_bytes} bytes")
            return os.read(fd, limit_bytes)
        finally:
            os.close(fd)


@dataclass
class _Directory(Archive):
    """A directory, for instance an OCI layout as skopeo writes it. Symlinks lead nowhere outside it."""

    root: Path

    def open(self, name: str) -> int:
        try:
            return open_in_root(self.root, name, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise NotFound(f"{self.root} has no {name}: {error.strerror}") from error


@dataclass
class _Spooled(Archive):
    """A tar whose files lie in a directory of ours, numbered."""

    path: Path
    spool: Path
    files: dict[str, Path] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def open(self, name: str) -> int:
        file = self.files.get(self._resolve(name))
        if file is None:
            raise NotFound(f"{self.path} has no {name}")
        return os.open(file, os.O_RDONLY | os.O_CLOEXEC)

    def _resolve(self, name: str) -> str:
        name = _clean(name)
        for _ in range(_MAX_LINKS):
            if name not in self.links:
                return name
            name = self.links[name]
        return ""

    def fill(self, stream: Source) -> None:
        read = _Exactly(stream)
        reader = TarReader(read)
        count = 0
        while (member := reader.next()) is not None:
            count += 1
            if count > _MAX_ENTRIES:
                raise ResourceExhausted(f"{self.path} has more than {_MAX_ENTRIES} entries")
            name = _clean(os.fsdecode(member.name))
            if member.kind == REGULAR:
                self.links.pop(name, None)
                self.files[name] = self._spool_file(member, stream, count)
                read(padding(member.stored))
            elif member.kind == SYMLINK:
                self.links[name] = _clean(posixpath.join(posixpath.dirname(name), os.fsdecode(member.link)))
            elif member.kind == HARD_LINK:
                self.links[name] = _clean(os.fsdecode(member.link))

    def _spool_file(self, member: Member, stream: Source, number: int) -> Path:
        file = self.spool / str(number)
        left = member.stored
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            while left:
                chunk = stream.read(min(left, _CHUNK_BYTES))
                if not chunk:
                    raise TarError("the archive ends in the middle of a file")
                left -= len(chunk)
                view = memoryview(chunk)
                while view:
                    view = view[os.write(fd, view) :]
        finally:
            os.close(fd)
        return file


@contextmanager
def open_archive(path: Path, spool: Path) -> Iterator[Archive]:
    """Open a directory or a tar. `spool` is a directory that doesn't exist yet; it is gone afterwards.

    Raises NotFound, InvalidArgument for what is no archive, ResourceExhausted.
    """
    if path.is_dir():
        yield _Directory(path)
        return
    try:
        spool.mkdir(mode=0o700)
        yield _read_tar(path, spool)
    finally:
        remove_tree(spool)


def _read_tar(path: Path, spool: Path) -> Archive:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NotFound(f"can't read {path}: {error.strerror}") from error
    try:
        archive = _Spooled(path, spool)
        archive.fill(open_stream(lambda n: os.read(fd, n)))
        return archive
    except (TarError, CompressionError) as error:
        raise InvalidArgument(f"{path} is no image archive: {error}") from error
    except OSError as error:
        raise disk_error(error, spool) from error
    finally:
        os.close(fd)


class _Exactly:
    """`read(n)` of exactly n bytes, fewer only at the end."""

    def __init__(self, stream: Source) -> None:
        self._stream = stream

    def __call__(self, n: int) -> bytes:
        pieces: list[bytes] = []
        while n and (piece := self._stream.read(n)):
            pieces.append(piece)
            n -= len(piece)
        return b"".join(pieces)


def _clean(name: str) -> str:
    return posixpath.normpath("/" + name).lstrip("/")
