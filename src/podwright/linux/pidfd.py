"""Processes that are not our children: identity that survives pid reuse, and waiting for their end."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessIdentity:
    """A pid and the time it started (clock ticks since boot, proc(5) stat field 22): unique until reboot."""

    pid: int
    start_time: int


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of a process that runs now, or None. A zombie counts as ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command in parentheses may hold anything; fields are counted after the last ')'.
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else ProcessIdentity(pid, int(fields[19]))


def is_alive(process: ProcessIdentity) -> bool:
    """Whether exactly this process (not a later one with its pid) runs."""
    return identify(process.pid) == process


def open_pidfd(process: ProcessIdentity) -> int | None:
    """A pidfd for exactly this process, or None when it has ended. pidfd_open(2)."""
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    # Checked after the open: from here on the pid can't be reused unnoticed.
    if is_alive(process):
        return fd
    os.close(fd)
    return None


async def wait_end(process: ProcessIdentity) -> None:
    """Return when the process has ended (become a zombie or gone)."""
    # Programs without an event loop identify processes, too, and asyncio takes its time to import.
    from podwright.linux.process import readable

    fd = open_pidfd(process)
    if fd is None:
        return
    try:
        await readable(fd)
    finally:
        os.close(fd)


def send_signal(process: ProcessIdentity, number: int) -> bool:
    """Signal exactly this process; False when it has ended."""
    fd = open_pidfd(process)
    if fd is None:
        return False
    try:
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True
