"""A finding: how bad, about what, in one line; and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """`fail`: pods won't run. `warn`: something is missing that some pods need."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One line of the report. `mend` is empty when there is nothing to do."""

    level: Level
    check: str
    message: str
    mend: str = ""


def ok(check: str, message: str) -> Finding:
    """All is well."""
    return Finding(Level.OK, check, message)


def warn(check: str, message: str, mend: str = "") -> Finding:
    """Something is missing that some pods need."""
    return Finding(Level.WARN, check, message, mend)


def fail(check: str, message: str, mend: str) -> Finding:
    """Pods won't run."""
    return Finding(Level.FAIL, check, message, mend)
