"""The end of processes on the host that stand for those in machines: waited for, and by force."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path

from podwright.base.errors import DeadlineExceeded
from podwright.linux.pidfd import ProcessIdentity, identify, open_pidfd, send_signal

KEEPER_PID = "machine/keeper.pid"
_DEATH_S = 5.0


def end(process: ProcessIdentity, *, grace_s: float) -> None:
    """Wait for its own end, then kill it. What it has started goes with it. Raises DeadlineExceeded."""
    if waited(process, grace_s):
        return
    send_signal(process, signal.SIGKILL)
    if not waited(process, _DEATH_S):
        raise DeadlineExceeded(f"process {process.pid} does not die")


def waited(process: ProcessIdentity, timeout_s: float) -> bool:
    """Whether it ends within that time."""
    pidfd = open_pidfd(process)
    if pidfd is None:
        return True
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))
    finally:
        os.close(pidfd)


def left_behind(directory: Path) -> ProcessIdentity | None:
    """The keeper whose creation broke off: its pid is in a file, and it is older than that."""
    try:
        pid, start_time = map(int, (directory / KEEPER_PID).read_text().split())
    except (OSError, ValueError):
        return None
    process = ProcessIdentity(pid, start_time)
    return process if identify(pid) == process else None
