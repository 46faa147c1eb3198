"""Where a container's log goes on after a restart of ours: found out from the log file itself.

Each line of our file has the time that Docker gave the message, so what the file ends with says what was taken. The
store remembers, from the moment a file was begun, which file that is and what earlier ones ended with: it is needed
when the file is still empty, or was renamed by a rotation that did not come to its end.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from podwright.state.store import Store
from podwright.wire.cri_log import BadLogLine, LogLine, format_time, parse_line
from podwright.wire.docker_log import LogPlace, StreamPlace

SKEW_NS = 5 * 10**9
"""By how much messages of the two streams may stand in the wrong order."""
_CHUNK_BYTES = 1024 * 1024
_BEGINNING = re.compile(rb"[0-9T:.Z-]{1,30}( |\Z)")


class StoredPlace(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`inode`: of the file that was begun; `before`: time and count by stream, of what earlier files have; `whole`: the
    container has ended, and all of its output is in files."""

    inode: int = 0
    whole: bool = False
    before: dict[str, tuple[str, int]] = {}


class LogPlaces:
    """The stored places of all containers, by container id."""

    def __init__(self, store: Store) -> None:
        self._table = store.table("docker_logs", StoredPlace)

    def begin(self, container_id: str, path: Path, place: LogPlace) -> None:
        """The file at the path is written from now on; if it is another one, earlier ones have all up to `place`."""
        inode, stored = path.stat().st_ino, self._table.get(container_id)
        if stored is None or stored.inode != inode:
            before = {name: (at.time.decode(), at.count) for name, at in place.streams.items()}
            self._table.put(container_id, StoredPlace(inode=inode, before=before))

    def find(self, container_id: str, path: Path) -> LogPlace:
        """How far the log was taken. Bytes of a line that was being written when we died are cut off the file."""
        stored = self._table.get(container_id) or StoredPlace()
        found = LogPlace({name: StreamPlace(time.encode(), count) for name, (time, count) in stored.before.items()})
        file = _file_of(stored.inode, path)
        if file is not None:
            for name, at in _end_of(file).items():
                earlier = found.streams.get(name)
                if earlier is not None and earlier.time == at.time:
                    at.count += earlier.count
                found.streams[name] = at
        return found

    def complete(self, container_id: str) -> None:
        """All of the output of a container that has ended was taken."""
        if (stored := self._table.get(container_id)) is not None:
            self._table.put(container_id, msgspec.structs.replace(stored, whole=True))

    def is_complete(self, container_id: str) -> bool:
        """Also of a container that has no log."""
        stored = self._table.get(container_id)
        return stored is None or stored.whole

    def forget(self, container_id: str) -> None:
        self._table.delete(container_id)


def _file_of(inode: int, path: Path) -> Path | None:
    """The file that was begun: at the log's path, or beside it where a rotation has moved it."""
    try:
        with os.scandir(path.parent) as entries:
            return next((Path(entry.path) for entry in entries if entry.inode() == inode and entry.is_file()), None)
    except FileNotFoundError:
        return None


def _end_of(file: Path) -> dict[str, StreamPlace]:
    """The last message of each stream, and how many there are of its time."""
    places: dict[str, StreamPlace] = {}
    oldest = b""
    with file.open("r+b") as log:
        _cut_torn_line(log.fileno())
        for line in _backwards(log.fileno()):
            if not places:
                oldest = format_time(line.time_ns - SKEW_NS)
            place = places.setdefault(line.stream, StreamPlace(line.time))
            place.count += place.time == line.time
            if line.time < oldest:
                break
    return places


def _cut_torn_line(fd: int) -> None:
    """What looks like the beginning of a line of ours, and has no end."""
    size = os.fstat(fd).st_size
    start = max(0, size - _CHUNK_BYTES)
    tail = os.pread(fd, size - start, start)
    torn = tail[tail.rfind(b"\n") + 1 :]
    if torn and _BEGINNING.match(torn):
        os.ftruncate(fd, size - len(torn))


def _backwards(fd: int) -> Iterator[LogLine]:
    """The file's lines, the last first; what is no line of a log is left out."""
    start, rest = os.fstat(fd).st_size, b""
    while start > 0:
        end, start = start, max(0, start - _CHUNK_BYTES)
        first, *others = (os.pread(fd, end - start, start) + rest).split(b"\n")
        rest = first
        for raw in reversed(others):
            yield from _parsed(raw)
    yield from _parsed(rest)


def _parsed(raw: bytes) -> Iterator[LogLine]:
    if raw:
        try:
            yield parse_line(raw)
        except BadLogLine:
            return
