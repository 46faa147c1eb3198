"""Verbs that only tell: `state`, `list`, `ps`, `events`, `features`."""

from __future__ import annotations

import select
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from podwright.base.errors import InvalidArgument
from podwright.linux.pidfd import open_pidfd
from podwright.oci.runtime_spec import OCI_VERSION
from podwright.ociruntime.arguments import Arguments
from podwright.ociruntime.base import Call, Program
from podwright.ociruntime.record import Container
from podwright.ociruntime.status import require, state, status

_INTERVAL_S = 5.0
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def show_state(call: Call, program: Program, arguments: Arguments) -> int:
    container = call.containers.read(arguments.words[0])
    _print(state(container, status(container, program)), pretty=True)
    return 0


def show_list(call: Call, program: Program, arguments: Arguments) -> int:
    """runc-list(8)."""
    found = [state(container, status(container, program)) for container in call.containers.all()]
    if arguments.on("quiet"):
        sys.stdout.write("".join(f"{each['id']}\n" for each in found))
    elif _as_json(arguments):
        _print(found)
    else:
        columns = ("id", "pid", "status", "bundle", "created")
        _print_table([[name.upper() for name in columns], *([str(each[name]) for name in columns] for each in found)])
    return 0


def show_processes(call: Call, program: Program, arguments: Arguments) -> int:
    """runc-ps(8). The table has columns of its own: there may be no ps that could see these processes."""
    container = call.containers.read(arguments.words[0])
    require(container, program, "list processes of", "created", "running", "paused")
    rows = program.processes(container)
    if _as_json(arguments):
        _print([row.pid for row in rows])
    else:
        lines = [[str(row.uid), str(row.pid), str(row.parent), row.command] for row in rows]
        _print_table([["UID", "PID", "PPID", "CMD"], *lines])
    return 0


def show_events(call: Call, program: Program, arguments: Arguments) -> int:
    """runc-events(8): statistics once, or at intervals with what else happened until the container ends."""
    container = call.containers.read(arguments.words[0])
    require(container, program, "watch", "created", "running", "paused")
    if arguments.on("stats"):
        _print_event(container, "stats", program.stats(container))
        return 0
    pause_s = _duration(arguments.value("interval")) if arguments.value("interval") else _INTERVAL_S
    killed = program.oom_kills(container)
    while not _ended_within(container, pause_s):
        _print_event(container, "stats", program.stats(container))
        before, killed = killed, program.oom_kills(container)
        if killed > before:
            _print_event(container, "oom", None)
    return 0


def show_features(_call: Call, program: Program, _arguments: Arguments) -> int:
    _print({"ociVersionMin": "1.0.0", "ociVersionMax": OCI_VERSION, **program.features()}, pretty=True)
    return 0


def _ended_within(container: Container, pause_s: float) -> bool:
    process = container.process
    pidfd = open_pidfd(process) if process else None
    if pidfd is None:
        return True
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(pause_s * 1000))


def _duration(word: str) -> float:
    """Seconds of 5s, 100ms, 1m. Raises InvalidArgument."""
    unit = word.lstrip("0123456789.")
    try:
        seconds = float(word.removesuffix(unit)) * _UNITS[unit]
    except (KeyError, ValueError):
        seconds = 0.0
    if seconds <= 0:
        raise InvalidArgument(f"{word!r} is no time: give one like 5s or 500ms", field="--interval")
    return seconds


def _as_json(arguments: Arguments) -> bool:
    form = arguments.value("format", "table")
    if form not in ("json", "table"):
        raise InvalidArgument(f"{form!r} is neither json nor table", field="--format")
    return form == "json"


def _print_event(container: Container, kind: str, data: Any) -> None:
    _print({"type": kind, "id": container.id, **({} if data is None else {"data": data})})


def _print(document: Any, *, pretty: bool = False) -> None:
    data = msgspec.json.encode(document)
    sys.stdout.write((msgspec.json.format(data) if pretty else data).decode() + "\n")
    sys.stdout.flush()


def _print_table(rows: Iterable[Sequence[str]]) -> None:
    lines = list(rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        words = [word.ljust(width) for word, width in zip(line, widths, strict=True)]
        sys.stdout.write("  ".join(words).rstrip() + "\n")
