"""Children that others left: adopted by the daemon as their subreaper, and collected when they end.

A runtime whose `exec` fails leaves its dead child behind, and a killed monitor its container. Such an orphan goes to
the nearest subreaper, else to init. A dead one that nobody collects keeps the PID namespace that it was in alive,
so that the container cannot end; and there are machines whose init takes seconds. prctl(2), PR_SET_CHILD_SUBREAPER;
pid_namespaces(7).
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from podwright.linux import syscalls
from podwright.linux.process import is_child

# SIGCHLDs come in bursts; orphans are rare and can wait for the burst's end.
_PAUSE_S = 0.01


class Orphans:
    """Made once, in the main thread's event loop. Processes of the process door are left to their owners."""

    def __init__(self) -> None:
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
        self._loop = asyncio.get_running_loop()
        self._planned: asyncio.TimerHandle | None = None
        self._loop.add_signal_handler(signal.SIGCHLD, self._plan)

    def close(self) -> None:
        """Stop collecting; what is adopted stays with this process, and goes on to init with its end."""
        self._loop.remove_signal_handler(signal.SIGCHLD)
        if self._planned is not None:
            self._planned.cancel()

    def _plan(self) -> None:
        if self._planned is None:
            self._planned = self._loop.call_later(_PAUSE_S, self._collect)

    def _collect(self) -> None:
        self._planned = None
        for pid in _children():
            if not is_child(pid):
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    continue


def _children() -> Iterator[int]:
    """Children of all our threads. proc(5), /proc/PID/task/TID/children."""
    for task in os.listdir("/proc/self/task"):
        try:
            yield from map(int, Path(f"/proc/self/task/{task}/children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread has ended
