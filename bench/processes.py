"""What a runtime's processes cost: its daemon and helpers, its monitors (conmon, shims) and pauses, from /proc."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.pods import WORKLOAD_MARK

_PROC = Path("/proc")
# /proc/PID/comm holds 15 characters.
_MONITORS = ("conmon", "containerd-shim")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_GONE = (FileNotFoundError, ProcessLookupError)


@dataclass(frozen=True)
class Process:
    """One row of the process table."""

    pid: int
    parent: int
    name: str
    words: tuple[str, ...]
    cpu_s: float
    reaped_cpu_s: float
    """CPU seconds of its ended children that it waited for."""


@dataclass(frozen=True)
class Footprint:
    """The processes of one runtime: the daemon with its helpers, and what it keeps for the pods beside their own."""

    daemon: tuple[Process, ...]
    monitors: tuple[Process, ...]

    def cpu_s(self) -> float:
        """CPU seconds so far, ended children included."""
        return sum(p.cpu_s + p.reaped_cpu_s for p in (*self.daemon, *self.monitors))


def footprint(daemon_pids: Iterable[int], marks: tuple[str, ...]) -> Footprint:
    """The processes of the daemon, or of the daemons where one stands on another. Monitors are those whose command line
    names one of `marks` (paths)."""
    table = _table()
    monitors = {p.pid for p in table.values() if is_monitor(p, marks)}
    daemon = _descendants(table, set(daemon_pids), stop_at=monitors)
    below = _descendants(table, monitors, stop_at=set())
    kept = [table[pid] for pid in below if pid in monitors or not _is_workload(pid)]
    return Footprint(tuple(table[pid] for pid in daemon), tuple(kept))


def is_monitor(process: Process, marks: tuple[str, ...]) -> bool:
    """Whether this is a conmon or shim that belongs to one of the directories or sockets `marks`."""
    return process.name.startswith(_MONITORS) and any(word.startswith(marks) for word in process.words[1:])


def pss_bytes(processes: tuple[Process, ...]) -> int:
    """Proportional set size: shared pages are counted by parts, so that sums are true (proc(5), smaps_rollup)."""
    total = 0
    for process in processes:
        try:
            lines = (_PROC / str(process.pid) / "smaps_rollup").read_text().splitlines()
        except _GONE:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def kill_monitors(marks: tuple[str, ...]) -> None:
    """Kill the monitors that outlived their daemon, and what they watch."""
    table = _table()
    monitors = {p.pid for p in table.values() if is_monitor(p, marks)}
    for pid in _descendants(table, monitors, stop_at=set()):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _descendants(table: dict[int, Process], roots: set[int], *, stop_at: set[int]) -> set[int]:
    found = {pid for pid in roots if pid in table}
    while True:
        more = {p.pid for p in table.values() if p.parent in found and p.pid not in stop_at} - found
        if not more:
            return found
        found |= more


def _is_workload(pid: int) -> bool:
    try:
        return WORKLOAD_MARK.encode() in (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except _GONE:
        return True


def _table() -> dict[int, Process]:
    table = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            try:
                table[int(entry.name)] = _read(entry)
            except _GONE:
                continue
    return table


def _read(entry: Path) -> Process:
    # The name stands in parentheses and may hold anything; the numbers follow the last one (proc_pid_stat(5)).
    head, _, tail = (entry / "stat").read_text(errors="replace").rpartition(")")
    fields = tail.split()
    words = tuple((entry / "cmdline").read_bytes().decode(errors="replace").split("\0"))
    user, system, reaped_user, reaped_system = (int(field) / _TICKS_PER_S for field in fields[11:15])
    return Process(
        int(entry.name), int(fields[1]), head.partition("(")[2], words, user + system, reaped_user + reaped_system
    )
