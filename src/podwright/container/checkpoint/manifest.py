"""The manifest of a pod's checkpoint: which archive is which container's, and what it must be.

It is written last, so a directory without one holds no checkpoint. Read again it is input of unknown origin.
"""

from __future__ import annotations

import os
import stat

import msgspec

from podwright.base.errors import InvalidArgument
from podwright.oci.digest import Digest, is_digest

FILE = "checkpoint.json"
_FORMAT = 1
_LIMIT_BYTES = 1024 * 1024


class Archive(msgspec.Struct, frozen=True):
    """One container, by the name in its metadata, and the file beside the manifest that holds it."""

    name: str
    file: str
    digest: Digest
    size: int
    image_id: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """`pod_name` and `pod_namespace` are for people: what is restored has the names of the request."""

    version: int = _FORMAT
    pod_name: str
    pod_namespace: str
    containers: tuple[Archive, ...]


def archive_file(number: int) -> str:
    """The file of a pod's container by number: a container's name may hold what no file's name can."""
    return f"container-{number}.tar"


def encode(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest))


def read_manifest(directory_fd: int) -> Manifest:
    """Raises InvalidArgument for what is missing, or no manifest of ours."""
    data = _read(directory_fd)
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _wrong(f"{FILE} can't be read: {error}") from error
    if manifest.version != _FORMAT:
        raise _wrong(f"{FILE} has version {manifest.version}, this is {_FORMAT}")
    if len({archive.name for archive in manifest.containers}) != len(manifest.containers) or not manifest.containers:
        raise _wrong(f"{FILE} names a container twice, or none")
    for number, archive in enumerate(manifest.containers):
        if archive.file != archive_file(number) or not is_digest(archive.digest) or archive.size < 0:
            raise _wrong(f"{FILE}: the entry of container {archive.name!r} is wrong")
    return manifest


def _read(directory_fd: int) -> bytes:
    try:
        fd = os.open(FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory_fd)
    except OSError as error:
        raise _wrong(f"{FILE}: {error.strerror}; a directory without it holds no whole checkpoint") from error
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode) or info.st_size > _LIMIT_BYTES:
            raise _wrong(f"{FILE} is no regular file of at most {_LIMIT_BYTES} bytes")
        return os.pread(fd, _LIMIT_BYTES, 0)
    finally:
        os.close(fd)


def _wrong(words: str) -> InvalidArgument:
    return InvalidArgument(words, field="checkpoint_path")
