"""Messages of a container's log as GET /containers/NAME/logs sends them with timestamps=1, and places among them.

A message is what Docker took from the container at once: a line with its newline, or, of a longer line, pieces of
`PIECE_BYTES` without one; the last of a stream may lack the newline, too. Before it stand its time, RFC 3339 with nine
digits in UTC, and a space. Pieces of one line have the same time. Each message has a frame of its own
(`docker_stream`), save for those of a container with a terminal, which follow one another without any mark: there a
piece ends where it is full. Source: moby, daemon/logger/copier.go and api/server/httputils/write_log_stream.go.

Times of one stream never fall; those of the two streams may, by what a busy machine does between taking the time and
writing. So a place in the log has a time and a count for each stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from podwright.wire.cri_log import parse_time
from podwright.wire.docker_stream import HEAD_BYTES, Stream, read_head

PIECE_BYTES = 16 * 1024
_TIME_BYTES = 30
_LIMIT_BYTES = 1024 * 1024  # log drivers may ask for larger pieces; json-file does not
_STREAMS = {Stream.STDOUT: "stdout", Stream.STDERR: "stderr"}


class BadMessage(Exception):
    """Bytes that are no message of a log."""


class Message(NamedTuple):
    """`time` as it was sent; `content` without the newline, which `whole` tells of."""

    time: bytes
    stream: str
    content: bytes
    whole: bool


class MessageReader(Protocol):
    """Bytes in pieces of any size to messages."""

    def feed(self, data: bytes) -> Iterator[Message]:
        """Those that end in `data`. Raises BadMessage, docker_stream.BadFrame."""
        ...

    def finish(self) -> Iterator[Message]:
        """At the end of the log: what has no mark that it is whole."""
        ...


class FramedMessages:
    """Of a container without a terminal. A message is small, so each is taken whole: a flood has a million of them."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Message]:
        data, at = self._rest + data, 0
        while (start := at + HEAD_BYTES) <= len(data):
            stream, length = read_head(data, at)
            if length > _LIMIT_BYTES:
                raise BadMessage(f"a message of {length} bytes")
            if start + length > len(data):
                break
            at = start + length
            if stream in _STREAMS:
                yield _message(data[start:at], _STREAMS[stream])
        self._rest = data[at:]

    def finish(self) -> Iterator[Message]:
        """A frame that broke off is sent again when the log is read again."""
        return iter(())


class TerminalMessages:
    """Of a container with a terminal, which has one stream."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Message]:
        self._rest += data
        while (end := self._end()) > 0:
            taken, self._rest = self._rest[:end], self._rest[end:]
            yield _message(taken, "stdout")

    def _end(self) -> int:
        """Where the first message ends; 0: it isn't known yet."""
        start = _TIME_BYTES + 1
        newline = self._rest.find(b"\n", start, start + PIECE_BYTES)
        if newline >= 0:
            return newline + 1
        full = start + PIECE_BYTES
        return full if len(self._rest) >= full else 0

    def finish(self) -> Iterator[Message]:
        taken, self._rest = self._rest, b""
        if len(taken) > _TIME_BYTES:
            yield _message(taken, "stdout")


def _message(data: bytes, stream: str) -> Message:
    if len(data) <= _TIME_BYTES or data[_TIME_BYTES : _TIME_BYTES + 1] != b" " or data[_TIME_BYTES - 1] != ord("Z"):
        raise BadMessage(f"a message begins with {data[:48]!r}")
    content = data[_TIME_BYTES + 1 :]
    whole = content.endswith(b"\n")
    return Message(data[:_TIME_BYTES], stream, content[:-1] if whole else content, whole)


@dataclass(slots=True)
class StreamPlace:
    """How far one stream was taken: the time of the last message, and how many of that time were taken.

    Times are compared as they are written: nine digits, UTC.
    """

    time: bytes = b""
    count: int = 0


@dataclass(slots=True)
class LogPlace:
    """How far a log was taken, by stream."""

    streams: dict[str, StreamPlace] = field(default_factory=dict)

    def pass_by(self, message: Message) -> None:
        """A message was taken."""
        place = self.streams.setdefault(message.stream, StreamPlace())
        if place.time == message.time:
            place.count += 1
        else:
            place.time, place.count = message.time, 1

    @property
    def latest_ns(self) -> int:
        """When the last message was written; 0: none was."""
        latest = max((place.time for place in self.streams.values()), default=b"")
        return parse_time(latest) if latest else 0


class Resume:
    """Leaves out of a log that is read again what was taken before."""

    def __init__(self, place: LogPlace) -> None:
        self._before = {name: (at.time, at.count) for name, at in place.streams.items()}
        self._seen: dict[str, int] = {}

    def is_new(self, message: Message) -> bool:
        """To be asked of every message, in order."""
        before = self._before.get(message.stream)
        if before is None:
            return True
        if message.time != before[0]:
            return message.time > before[0]
        self._seen[message.stream] = self._seen.get(message.stream, 0) + 1
        return self._seen[message.stream] > before[1]
