"""Log lines of containers in the CRI's format: writing them, parsing them and joining partial ones.

One line of the file is `TIME STREAM TAGS CONTENT`: TIME in RFC 3339 with any number of fractional digits and a zone,
STREAM stdout or stderr, TAGS separated by colons and the first of them F (full) or P (partial: more follows, no
newline was written), then exactly one space and the content, which may be empty and need not be UTF-8. Source:
kubernetes, design proposal "CRI: log management", and staging/src/k8s.io/cri-client/pkg/logs. `podwright logs` reads
and the monitor of shims' containers writes; conmon does its own writing.
"""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

LINE_LIMIT_BYTES = 1024 * 1024
ENTRY_LIMIT_BYTES = 16 * 1024 * 1024

_TIME = re.compile(
    rb"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)  # fmt: skip
_STREAMS = {b"stdout": "stdout", b"stderr": "stderr"}


class BadLogLine(ValueError):
    """A line that is not in the CRI's format."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the file. `time` as written; `partial`: the process has not written the newline yet."""

    time: bytes
    stream: str
    partial: bool
    content: bytes

    @property
    def time_ns(self) -> int:
        """Nanoseconds since the epoch."""
        return parse_time(self.time)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What the process wrote up to a newline. `complete` is False for one that has none (yet)."""

    time: bytes
    stream: str
    content: bytes
    complete: bool


def parse_time(text: bytes) -> int:
    """RFC 3339 to nanoseconds since the epoch. Raises BadLogLine."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise BadLogLine(f"not a time: {text[:64]!r}")
    year, month, day, hour, minute, second = (int(found[i]) for i in range(1, 7))
    in_range = 1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second <= 60 and year > 0
    if not in_range or day > calendar.monthrange(year, month)[1]:
        raise BadLogLine(f"not a time: {text[:64]!r}")
    offset = (int(found[9]) * 3600 + int(found[10]) * 60) * (-1 if found[8] == b"-" else 1) if found[8] else 0
    seconds = calendar.timegm((year, month, day, hour, minute, second)) - offset
    return seconds * 10**9 + int((found[7] or b"")[:9].ljust(9, b"0"))


def parse_line(line: bytes) -> LogLine:
    """Parse one line, without its newline. Raises BadLogLine."""
    words = line.split(b" ", 3)
    if len(words) != 4:
        raise BadLogLine(f"fewer than four fields: {line[:64]!r}")
    time, stream, tags, content = words
    name = _STREAMS.get(stream)
    if name is None:
        raise BadLogLine(f"the stream is neither stdout nor stderr: {stream[:64]!r}")
    first = tags.split(b":", 1)[0]
    if first not in (b"F", b"P"):
        raise BadLogLine(f"the first tag is neither F nor P: {tags[:64]!r}")
    parse_time(time)
    return LogLine(time, name, first == b"P", content)


def format_time(time_ns: int) -> bytes:
    """Nanoseconds since the epoch to RFC 3339 in UTC, with nine digits."""
    seconds, nanoseconds = divmod(time_ns, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode() + b".%09dZ" % nanoseconds


def format_output(data: bytes, stream: str, time_ns: int) -> bytes:
    """Output as it was read to whole lines of the file.

    What has no newline yet becomes a partial line at once, so that nothing is kept in memory: whoever writes on, be
    it another process, needs not know where this one stopped.
    """
    start = b"%s %s " % (format_time(time_ns), stream.encode())
    *ended, rest = data.split(b"\n")
    lines = [b"%sF %s\n" % (start, line) for line in ended]
    if rest:
        lines.append(b"%sP %s\n" % (start, rest))
    return b"".join(lines)


class LogReader:
    """Bytes of a log file, in pieces of any size, to lines. Lines that can't be parsed are counted and left out."""

    def __init__(self, *, line_limit_bytes: int = LINE_LIMIT_BYTES) -> None:
        self._limit = line_limit_bytes
        self._rest = b""
        self._overlong = False
        self.malformed = 0

    def feed(self, data: bytes) -> list[LogLine]:
        """The lines that end in `data`."""
        *ended, rest = (self._rest + data).split(b"\n")
        lines = []
        for raw in ended:
            if self._overlong or len(raw) > self._limit:
                self._overlong = False
                self.malformed += 1
                continue
            try:
                lines.append(parse_line(raw))
            except BadLogLine:
                self.malformed += 1
        if len(rest) > self._limit:
            self._overlong, rest = True, b""
        self._rest = rest
        return lines

    def finish(self) -> list[LogLine]:
        """At the end of the file: a last line whose newline is missing, if it can be parsed."""
        last, self._rest = self._rest, b""
        if self._overlong or not last:
            return []
        try:
            return [parse_line(last)]
        except BadLogLine:
            self.malformed += 1
            return []


class LogJoiner:
    """Partial lines to entries. The two streams are joined apart, as their parts may alternate in the file."""

    def __init__(self, *, entry_limit_bytes: int = ENTRY_LIMIT_BYTES) -> None:
        self._limit = entry_limit_bytes
        self._parts: dict[str, list[LogLine]] = {}
        self._sizes: dict[str, int] = {}

    def add(self, lines: Iterable[LogLine]) -> list[LogEntry]:
        """The entries that `lines` complete. One beyond the limit is given out in incomplete pieces."""
        entries = []
        for line in lines:
            self._parts.setdefault(line.stream, []).append(line)
            size = self._sizes[line.stream] = self._sizes.get(line.stream, 0) + len(line.content)
            if not line.partial or size >= self._limit:
                entries.append(self._take(line.stream, complete=not line.partial))
        return entries

    def pending(self) -> list[LogEntry]:
        """What has no newline yet, at most one entry a stream; the joiner is empty afterwards."""
        return [self._take(stream, complete=False) for stream in list(self._parts)]

    def _take(self, stream: str, *, complete: bool) -> LogEntry:
        parts = self._parts.pop(stream)
        self._sizes.pop(stream)
        return LogEntry(parts[0].time, stream, b"".join(part.content for part in parts), complete)
