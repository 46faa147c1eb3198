"""Where the machine has what the host shares, and what its containers share."""

from __future__ import annotations

import os.path

from podwright.guest.failures import INVALID, Failure

SHARE = "/share"
SHM = "/run/shm"
_PREFIX = "share:"


def shared_path(text: str, name: str) -> str:
    """A share: path as one of the machine. Raises Failure for anything else."""
    path = os.path.normpath(text.removeprefix(_PREFIX))
    if not text.startswith(_PREFIX) or path.startswith(("/", "..")):
        raise Failure(INVALID, f"{name}: {text[:200]!r} is not a path in the share, which begins with {_PREFIX!r}")
    return f"{SHARE}/{path}"
