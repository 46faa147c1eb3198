"""SELinux: whether this kernel has it, and the labels of a process and of its mounts. selinux(8).

Labels are put together, not checked: the policy knows which are valid, and the runtime fails with its words.
"""

from __future__ import annotations

import functools
from pathlib import Path

_FILE_SYSTEM = Path("/sys/fs/selinux/enforce")


@functools.cache
def available() -> bool:
    """Whether this kernel has SELinux, and a policy is loaded."""
    return _FILE_SYSTEM.exists()


def labels(*, user: str, role: str, type_: str, level: str) -> tuple[str, str]:
    """Process label and mount label; missing parts are those of the container policy. Empty without SELinux."""
    if not available():
        return "", ""
    tail = level or "s0"
    process = f"{user or 'system_u'}:{role or 'system_r'}:{type_ or 'container_t'}:{tail}"
    return process, f"{user or 'system_u'}:object_r:container_file_t:{tail}"
