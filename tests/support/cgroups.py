"""Taking down the cgroups that a program other than ours made and left."""

from __future__ import annotations

import os
import time
from pathlib import Path

_TOP = Path("/sys/fs/cgroup")
_WITHIN_S = 10.0


def remove(parent: str) -> None:
    """Remove the cgroup `parent` ("/name") and those below it, in every hierarchy.

    Waits for processes in them that are just ending (podman's conmon outlives `podman run`).
    """
    deadline = time.monotonic() + _WITHIN_S
    for hierarchy in (_TOP, *(path for path in _TOP.iterdir() if path.is_dir())):
        for directory, _, _ in os.walk(hierarchy / parent.lstrip("/"), topdown=False):
            while not _removed(Path(directory), deadline):
                time.sleep(0.02)  # noqa: TID251 - between tests no event loop runs


def _removed(directory: Path, deadline: float) -> bool:
    try:
        directory.rmdir()
    except FileNotFoundError:  # seen by another name of the same hierarchy
        return True
    except OSError:
        if time.monotonic() > deadline:
            raise
        return False
    return True
