"""Signals by name or number, as `kill` takes them. signal(7)."""

from __future__ import annotations

import signal

from podwright.base.errors import InvalidArgument


def parse_signal(word: str) -> int:
    """`SIGTERM`, `TERM`, `term`, `15`, `RTMIN+3`. Raises InvalidArgument."""
    if word.isdigit():
        number = int(word)
    else:
        name, plus, offset = word.upper().removeprefix("SIG").partition("+")
        found = getattr(signal, f"SIG{name}", None)
        if not isinstance(found, signal.Signals) or (plus and not offset.isdigit()):
            raise InvalidArgument(f"unknown signal {word!r}")
        number = found + int(offset or 0)
    if not 0 < number <= signal.SIGRTMAX:
        raise InvalidArgument(f"unknown signal {word!r}: numbers go from 1 to {int(signal.SIGRTMAX)}")
    return number
