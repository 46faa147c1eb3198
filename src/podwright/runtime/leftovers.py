"""Processes that were being executed in containers when the daemon died, found by the files that it left.

Nobody waits for them any more. Terminals have hung up and pipes have broken by themselves, but not every process
minds; what is still there is killed before the daemon serves again.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from podwright.base.log import get_logger
from podwright.linux.pidfd import ProcessIdentity, identify, send_signal
from podwright.linux.process_tree import kill_below
from podwright.runtime.exec import ExecFiles

log = get_logger(__name__)

# File times are coarse, and the clock may have been slewed since.
_TOLERANCE_S = 1.0


async def end_leftovers(scratch: Path) -> None:
    """Kill them, and empty the directory."""
    for pid_file in scratch.glob("exec-*.pid"):
        container_id = ExecFiles.container_of(pid_file)
        process = _process(pid_file, container_id)
        if process is not None:
            log.info("a process left by an exec is killed", container=container_id[:13], pid=process.pid)
            await kill_below(process.pid)
            send_signal(process, signal.SIGKILL)
    for path in scratch.iterdir():
        path.unlink(missing_ok=True)


def _process(pid_file: Path, container_id: str) -> ProcessIdentity | None:
    """The process whose pid a file tells, if it still runs: in the container's cgroup, and older than the file."""
    try:
        pid, written = int(pid_file.read_text()), pid_file.stat().st_mtime
        cgroups = Path(f"/proc/{pid}/cgroup").read_text()
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None
    process = identify(pid)
    if process is None or container_id not in cgroups:
        return None
    started = process.start_time / os.sysconf("SC_CLK_TCK") + time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return process if started <= written + _TOLERANCE_S else None
