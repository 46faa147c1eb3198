"""The end of everything below a process, in another PID namespace or not.

Found by parents and by sessions: a child whose parent has died is no descendant any more, but it still is in the
session that it inherited. Members are stopped before they are killed, so that none forks while we look; one that is
told to stop in the midst of a fork still makes its child, so we look until all have stopped. proc(5), setsid(2).
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

from podwright.linux.pidfd import ProcessIdentity, send_signal, wait_end

_ROUNDS = 50
_STOP_POLL_S = 0.002
_STOPPED = (b"T", b"t")


@dataclass(frozen=True)
class _Entry:
    """What a /proc/PID/stat line tells of a process that has not ended."""

    identity: ProcessIdentity
    parent: int
    session: int
    stopped: bool


async def kill_below(pid: int, *, timeout_s: float = 5.0) -> bool:
    """SIGKILL all that `pid`, itself spared, has started, and wait for it. False: something did not die in time."""
    return await _kill(pid, set(), set(), {_session(pid), _session(os.getpid())}, timeout_s)


async def kill_tree(process: ProcessIdentity, *, timeout_s: float = 5.0) -> bool:
    """SIGKILL a process and all that it has started, and wait for it. False: something did not die in time.

    A process that leads its session is found by it, also when its parent has died.
    """
    sessions = {process.pid} if _session(process.pid) == process.pid else set[int]()
    send_signal(process, signal.SIGSTOP)
    return await _kill(process.pid, {process}, sessions, {_session(os.getpid())}, timeout_s)


async def _kill(pid: int, found: set[ProcessIdentity], sessions: set[int], spared: set[int], timeout_s: float) -> bool:
    for _ in range(_ROUNDS):
        entries = _below(pid, sessions)
        new = {entry for entry in entries if entry.identity not in found}
        if not new:
            if all(entry.stopped for entry in entries):
                break
            await asyncio.sleep(_STOP_POLL_S)
        for entry in new:
            send_signal(entry.identity, signal.SIGSTOP)
            found.add(entry.identity)
            sessions.add(entry.session)
        sessions -= spared
    for process in found:
        send_signal(process, signal.SIGKILL)
    try:
        async with asyncio.timeout(timeout_s):
            for process in found:
                await wait_end(process)
    except TimeoutError:
        return False  # uninterruptible sleep
    return True


def _below(pid: int, sessions: set[int]) -> list[_Entry]:
    """Descendants of `pid`, members of `sessions`, and their descendants."""
    entries = list(_processes())
    found = [entry for entry in entries if entry.session in sessions and entry.identity.pid != pid]
    pids = {pid} | {entry.identity.pid for entry in found}
    grown = True
    while grown:
        grown = False
        for entry in entries:
            if entry.parent in pids and entry.identity.pid not in pids:
                found.append(entry)
                pids.add(entry.identity.pid)
                grown = True
    return found


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return -1


def _processes() -> Iterator[_Entry]:
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] not in (b"Z", b"X"):
            yield _Entry(
                ProcessIdentity(int(name), int(fields[19])), int(fields[1]), int(fields[3]), fields[0] in _STOPPED
            )
