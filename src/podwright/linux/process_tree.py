"""Killing a process with all its descendants, those included that have left for another parent meanwhile."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from podwright.linux.pidfd import ProcessIdentity, identify, is_alive, send_signal

_ROUNDS = 20


async def kill_descendants(pid: int, *, timeout_s: float = 2.0) -> None:
    """SIGKILL all below `pid`, not itself, until none is left.

    Each round stops what it finds before it looks further down, so that a fork bomb can't outrun it; what a dead
    parent has orphaned was found while the parent was stopped.
    """
    found: dict[int, ProcessIdentity] = {}
    for _ in range(_ROUNDS):
        new = [child for child in _descendants(pid, set(found)) if child.pid not in found]
        for child in new:
            send_signal(child, signal.SIGSTOP)
            found[child.pid] = child
        if not new:
            break
    for child in found.values():
        send_signal(child, signal.SIGKILL)
    deadline = asyncio.get_running_loop().time() + timeout_s
    while any(is_alive(child) for child in found.values()) and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.005)


def _descendants(pid: int, known: set[int]) -> list[ProcessIdentity]:
    below: list[ProcessIdentity] = []
    queue = [pid, *known]
    seen = set(queue)
    while queue:
        for child in _children(queue.pop()):
            if child in seen:
                continue
            seen.add(child)
            queue.append(child)
            identity = identify(child)
            if identity is not None:
                below.append(identity)
    return below


def _children(pid: int) -> list[int]:
    """Children of all threads. proc(5), /proc/PID/task/TID/children."""
    children: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += map(int, (task / "children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        pass
    return children
