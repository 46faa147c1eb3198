"""SIGKILL for the members of a cgroup, never for a stranger that got a dead member's pid. pidfd_open(2)."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable


def kill_members(members: Callable[[], list[int]]) -> None:
    """Kill what `members` lists, once; those that fork or come later need another call.

    The list is read again when the pidfds are open: a pid that is in it both times is still the member's, since
    an open pidfd refers to one process for good.
    """
    pidfds: dict[int, int] = {}
    try:
        for pid in members():
            try:
                pidfds[pid] = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
        for pid in members():
            if pid in pidfds:
                _kill(pidfds[pid])
    finally:
        for fd in pidfds.values():
            os.close(fd)


def _kill(pidfd: int) -> None:
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        return
