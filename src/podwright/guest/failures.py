"""Why a request fails, in the words of docs/vm.md: one of seven kinds, and a sentence."""

from __future__ import annotations

import os

INVALID, NOT_FOUND, EXISTS, STATE = "invalid", "not-found", "exists", "state"
UNSUPPORTED, BUSY, INTERNAL = "unsupported", "busy", "internal"


class Failure(Exception):
    """A request that can't be done. `kind` is one of the above."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def described(error: Exception) -> Failure:
    """Any other error as a failure: the kernel's with what it was about, a defect with its type."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, OSError):
        about = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        return Failure(INTERNAL, f"{about}{error.strerror or error}")
    return Failure(INTERNAL, f"{type(error).__name__}: {error}")
