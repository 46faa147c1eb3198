"""`podwright logs`: what a container wrote, read from its log file as the kubelet does.

The file's path is the runtime's word (ContainerStatus.log_path), so this works on the node itself only. Following
polls: the file may be rotated, and the container may end, and no one tells.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated

import grpc
import typer

from podwright.base.errors import InvalidArgument, NotFound
from podwright.cli.client import QUICK_S, Client, connect, is_code
from podwright.cli.lookup import find_container
from podwright.cli.options import Socket
from podwright.cli.stats import pause
from podwright.criapi import api_pb2 as pb
from podwright.wire.cri_log import BadLogLine, LogEntry, LogJoiner, LogReader, parse_time

_BLOCK_BYTES = 64 * 1024
_POLL_S = 0.1
_POLLS_A_STATUS = 5
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def logs(
    ctx: typer.Context,
    container: Annotated[str, typer.Argument(help="Id, prefix of an id, name, or POD/NAME.")],
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the container ends.")] = False,
    tail: Annotated[int, typer.Option("--tail", "-n", min=-1, help="Only the last so many lines; -1: all.")] = -1,
    since: Annotated[
        str | None, typer.Option("--since", metavar="WHEN", help="From 10s, 5m, 2h, 1d ago, or an RFC 3339 time.")
    ] = None,
    timestamps: Annotated[bool, typer.Option("--timestamps", "-t", help="Put the time before each line.")] = False,
    socket: Socket = None,
) -> None:
    """Show what a container wrote to stdout and stderr."""
    since_ns = parse_since(since, time.time()) if since else 0
    with connect(ctx, socket) as client:
        container_id = find_container(client, container).id
        path = log_path(client, container_id)
        printer = Printer(timestamps=timestamps, since_ns=since_ns)
        with closing(LogFile(path)) as file:
            if tail >= 0:
                printer.print(file.last_entries(tail))
            printer.print(file.new_entries())
            if follow:
                follow_to_end(client, container_id, file, printer)


def log_path(client: Client, container_id: str) -> Path:
    """Where the container's log lies. Raises NotFound."""
    request = pb.ContainerStatusRequest(container_id=container_id)
    text = client.runtime.ContainerStatus(request, timeout=QUICK_S).status.log_path
    if not text:
        raise NotFound("this container keeps no log: it was made without a log path")
    path = Path(text)
    if not path.exists():
        raise NotFound(f"the log {path} isn't there: has the container been started, and is this its node?")
    return path


def parse_since(text: str, now: float) -> int:
    """A moment in nanoseconds since the epoch, from a time or from a span before `now`. Raises InvalidArgument."""
    if re.fullmatch(r"(\d+[smhd])+", text):
        span = sum(int(count) * _UNITS[unit] for count, unit in re.findall(r"(\d+)([smhd])", text))
        return int((now - span) * 1e9)
    try:
        return parse_time(text.encode())
    except BadLogLine:
        raise InvalidArgument(
            f"{text!r} is neither a span such as 90s, 5m or 1h30m nor a time such as 2026-01-31T12:00:00Z",
            field="--since",
        ) from None


class Printer:
    """Writes entries to the stream they came from, one line in pieces if it comes so."""

    def __init__(self, *, timestamps: bool, since_ns: int) -> None:
        self._timestamps, self._since_ns = timestamps, since_ns
        self._within_line = {"stdout": False, "stderr": False}

    def print(self, found: Iterable[LogEntry]) -> None:
        """Write those that are not too old; both streams are flushed afterwards."""
        for entry in found:
            if self._since_ns and parse_time(entry.time) < self._since_ns:
                continue
            sink = sys.stdout.buffer if entry.stream == "stdout" else sys.stderr.buffer
            if self._timestamps and not self._within_line[entry.stream]:
                sink.write(entry.time + b" ")
            sink.write(entry.content + (b"\n" if entry.complete else b""))
            self._within_line[entry.stream] = not entry.complete
        sys.stdout.buffer.flush()
        sys.stderr.buffer.flush()


class LogFile:
    """A log file that may grow, be rotated (another file at its path) or be truncated while it is read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb")
        self._reader, self._joiner = LogReader(), LogJoiner()

    def close(self) -> None:
        self._file.close()

    def new_entries(self) -> Iterator[LogEntry]:
        """What was written since the last call, a line without its newline included, and rotations followed."""
        rotated = self._rotated()
        yield from self._to_end()
        if rotated:
            # Only now: the old file got its last lines before it was renamed.
            yield from self._joiner.add(self._reader.finish())
            self._file.close()
            self._file = self._path.open("rb")
            self._reader = LogReader()
            yield from self._to_end()
        yield from self._joiner.pending()

    def last_entries(self, count: int) -> list[LogEntry]:
        """The last `count` entries; reads backwards in growing steps, no more of the file than is needed."""
        size = self._file.seek(0, os.SEEK_END)
        window = _BLOCK_BYTES
        while True:
            start = max(0, size - window)
            self._file.seek(start)
            # A window rarely begins where a line does, so its first line is dropped, and its first entry not trusted.
            data = self._file.read(size - start)
            dropped = data.find(b"\n") + 1 if start else 0
            end = data.rfind(b"\n") + 1
            joiner = LogJoiner()
            found = joiner.add(LogReader().feed(data[dropped:end]))
            found += joiner.pending()
            if start == 0 or len(found) > count:
                self._file.seek(start + end)
                return found[-count:] if count else []
            window *= 4

    def _to_end(self) -> Iterator[LogEntry]:
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)
            self._reader = LogReader()
        while data := self._file.read(_BLOCK_BYTES):
            yield from self._joiner.add(self._reader.feed(data))

    def _rotated(self) -> bool:
        try:
            there, here = self._path.stat(), os.fstat(self._file.fileno())
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)


def follow_to_end(client: Client, container_id: str, file: LogFile, printer: Printer) -> None:
    """Print what is written from now on, until the container has ended and all of its log is read."""
    while runs(client, container_id):
        for _ in range(_POLLS_A_STATUS):
            printer.print(file.new_entries())
            pause(_POLL_S)
    printer.print(file.new_entries())


def runs(client: Client, container_id: str) -> bool:
    """Whether the container may still write; one that is gone may not."""
    request = pb.ContainerStatusRequest(container_id=container_id)
    try:
        state = client.runtime.ContainerStatus(request, timeout=QUICK_S).status.state
    except grpc.RpcError as error:
        if is_code(error, grpc.StatusCode.NOT_FOUND):
            return False
        raise
    return state in (pb.CONTAINER_CREATED, pb.CONTAINER_RUNNING)
