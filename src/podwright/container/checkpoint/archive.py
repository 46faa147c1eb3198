"""One container's checkpoint as a tar archive, with the names that CRI-O's and containerd's have: what checkpointctl
and other forensic tools read.

    config.dump      which container, image and runtime, and when (JSON)
    spec.dump        its OCI runtime configuration (JSON)
    checkpoint/      CRIU's image files
    dump.log         CRIU's log; stats-dump: its statistics
    rootfs-diff.tar  what it wrote to its file system, as a layer
    container.log    its log so far
"""

from __future__ import annotations

import datetime
import hashlib
import io
import os
import stat
import tarfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from podwright.base.errors import Cancelled, ResourceExhausted
from podwright.container.model import Container
from podwright.oci.digest import Digest

CONFIG, SPEC, IMAGES, DIFFERENCE, LOG = "config.dump", "spec.dump", "checkpoint", "rootfs-diff.tar", "container.log"
CRIU_FILES = ("dump.log", "stats-dump")
_BUFFER_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Parts:
    """What goes into an archive. `directory` holds `checkpoint`, `rootfs-diff.tar` and what CRIU left beside them."""

    directory: Path
    config: bytes
    spec: bytes
    log: Path | None


class Sink:
    """A descriptor that is written to up to a limit, until somebody says stop, and hashed on the way."""

    def __init__(self, fd: int, limit_bytes: int, stop: threading.Event) -> None:
        self._fd, self._limit, self._stop = fd, limit_bytes, stop
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        if self._stop.is_set():
            raise Cancelled("the checkpoint is not wanted any more")
        self.size += len(data)
        if self.size > self._limit:
            raise ResourceExhausted(f"the checkpoint has more than {self._limit} bytes (checkpoint.max_bytes)")
        self._hash.update(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
        return len(data)

    @property
    def digest(self) -> Digest:
        return Digest("sha256:" + self._hash.hexdigest())


def write_archive(parts: Parts, sink: Sink) -> None:
    """Blocks: call it in a thread."""
    directory = parts.directory
    # Its types want a file that can be read as well; a stream is only written to.
    with tarfile.open(  # type: ignore[call-overload]
        fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT, bufsize=_BUFFER_BYTES, copybufsize=_BUFFER_BYTES
    ) as tar:
        _add_bytes(tar, CONFIG, parts.config)
        _add_bytes(tar, SPEC, parts.spec)
        images = _entry(IMAGES, 0)
        images.type, images.mode = tarfile.DIRTYPE, 0o700
        tar.addfile(images)
        for name in sorted(os.listdir(directory / IMAGES)):
            _add_file(tar, f"{IMAGES}/{name}", directory / IMAGES / name)
        for name in (*CRIU_FILES, DIFFERENCE):
            _add_file(tar, name, directory / name)
        if parts.log is not None:
            _add_file(tar, LOG, parts.log)


def _add_bytes(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    tar.addfile(_entry(name, len(data)), io.BytesIO(data))


def _add_file(tar: tarfile.TarFile, name: str, path: Path) -> None:
    """A regular file as long as it is now; nothing for what is missing, or no regular file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    with open(fd, "rb") as file:
        info = os.fstat(fd)
        if stat.S_ISREG(info.st_mode):
            tar.addfile(_entry(name, info.st_size), file)


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, 0o600, int(time.time())
    return entry


def describe(container: Container, runtime: str) -> bytes:
    """config.dump, as checkpointctl's lib/metadata.go has it."""
    record = container.record
    image = container.config.image
    facts: Mapping[str, object] = {
        "id": container.id,
        "name": container.config.metadata.name,
        "rootfsImage": image.user_specified_image or image.image,
        "rootfsImageRef": record.image_ref,
        "rootfsImageName": image.user_specified_image or image.image,
        "runtime": runtime,
        "createdTime": _rfc3339(record.created_at),
        "checkpointedTime": _rfc3339(time.time_ns()),
        "restored": record.restored,
    }
    return msgspec.json.format(msgspec.json.encode(facts))


def _rfc3339(time_ns: int) -> str:
    return datetime.datetime.fromtimestamp(time_ns / 1e9, datetime.UTC).isoformat()
