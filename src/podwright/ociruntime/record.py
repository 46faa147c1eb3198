"""What is known of a container between one call of the program and the next: a directory of its own below `--root`.

`state.json` there is replaced as a whole, so whoever reads it needs no lock. Verbs that change a container hold a lock,
flock(2) on the directory, which the kernel drops with the process. A record without a pid is of a creation: under way
while somebody holds the lock, failed when nobody does.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from podwright.base.errors import AlreadyExists, InvalidArgument, NotFound
from podwright.base.files import remove_tree, write_atomic
from podwright.linux.pidfd import ProcessIdentity, identify, is_alive
from podwright.oci.runtime_spec import StoredSpec
from podwright.state.boot import boot_id

_ID = re.compile(r"[A-Za-z0-9_+.-]{1,200}\Z")
_STATE, _CONFIG = "state.json", "config.json"


class Record(msgspec.Struct, omit_defaults=True, kw_only=True):
    """`state.json`: facts. `pid` 0: there is no process yet; with `start_time` it is one process for good. Times are
    RFC 3339. `details` are the program's own."""

    id: str
    bundle: str
    rootfs: str
    created: str
    boot_id: str
    annotations: dict[str, str] = {}
    pid: int = 0
    start_time: int = 0
    started: str = ""
    details: dict[str, Any] = {}


class Container:
    """One container: its record, and the directory that holds it, where the program may keep files of its own."""

    def __init__(self, directory: Path, record: Record, *, held: bool = False) -> None:
        self.directory, self.record, self._held = directory, record, held

    @property
    def id(self) -> str:
        return self.record.id

    @cached_property
    def spec(self) -> StoredSpec:
        """config.json as it was when the container was created."""
        return msgspec.json.decode((self.directory / _CONFIG).read_bytes(), type=StoredSpec)

    @property
    def details(self) -> dict[str, Any]:
        """The program's own facts; `save` after a change."""
        return self.record.details

    def save(self) -> None:
        """Make the record's facts durable."""
        write_atomic(self.directory / _STATE, msgspec.json.encode(self.record))

    def set_process(self, pid: int) -> None:
        """The container's process, which has to be there."""
        process = identify(pid)
        self.record.pid, self.record.start_time = pid, process.start_time if process else 0
        self.save()

    @property
    def process(self) -> ProcessIdentity | None:
        """The container's process while it lives."""
        identity = ProcessIdentity(self.record.pid, self.record.start_time)
        if not self.record.pid or self.record.boot_id != boot_id() or not is_alive(identity):
            return None
        return identity

    @property
    def under_way(self) -> bool:
        """Whether another verb that changes the container, creation for one, is at it now."""
        if self._held:
            return False
        fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False


class Containers:
    """All containers below a `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, container_id: str) -> Container:
        """Raises NotFound, InvalidArgument (no id)."""
        directory = self.root / check_id(container_id)
        try:
            record = msgspec.json.decode((directory / _STATE).read_bytes(), type=Record)
        except (FileNotFoundError, msgspec.MsgspecError):
            if not directory.is_dir():
                raise NotFound(f"container {container_id!r} does not exist") from None
            record = Record(id=container_id, bundle="", rootfs="", created="", boot_id="")  # its creation broke off
        return Container(directory, record)

    def all(self) -> list[Container]:
        """By id; those that go away meanwhile are left out."""
        found = []
        for name in sorted(os.listdir(self.root)) if self.root.is_dir() else ():
            try:
                found.append(self.read(name))
            except (NotFound, InvalidArgument):
                continue
        return found

    @contextmanager
    def locked(self, container_id: str) -> Iterator[Container]:
        """The container, to this process alone. Raises NotFound."""
        with self._lock(self.root / check_id(container_id), container_id):
            found = self.read(container_id)
            yield Container(found.directory, found.record, held=True)

    @contextmanager
    def new(self, container_id: str, config: bytes, **facts: Any) -> Iterator[Container]:
        """A container that is being created; `facts` are members of its record. Raises AlreadyExists."""
        directory = self.root / check_id(container_id)
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:
            raise AlreadyExists(f"container with id {container_id!r} exists already") from None
        with self._lock(directory, container_id):
            container = Container(
                directory, Record(id=container_id, created=now(), boot_id=boot_id(), **facts), held=True
            )
            write_atomic(directory / _CONFIG, config)
            container.save()
            yield container

    @contextmanager
    def _lock(self, directory: Path, container_id: str) -> Iterator[None]:
        gone = NotFound(f"container {container_id!r} does not exist")
        try:
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise gone from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if not _is_still(directory, fd):
                raise gone
            yield
        finally:
            os.close(fd)

    def forget(self, container: Container) -> None:
        """Remove the container's directory; its lock is held."""
        remove_tree(container.directory)


def check_id(container_id: str) -> str:
    """Raises InvalidArgument for what could not be a directory's name."""
    if not _ID.match(container_id) or container_id in (".", ".."):
        raise InvalidArgument(f"{container_id!r} can't be a container's id: letters, digits and _ + . - are allowed")
    return container_id


def now() -> str:
    """RFC 3339, in nanoseconds."""
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds:09}Z"


def _is_still(directory: Path, fd: int) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), directory.stat())
    except FileNotFoundError:
        return False
