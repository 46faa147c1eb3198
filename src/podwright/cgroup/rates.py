"""CPU use over the recent past, from a counter that is read now and then. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

MIN_WINDOW_NS = 500_000_000
"""Readers don't know of each other: one that comes shortly after another gets the rate that the other one got."""


@dataclass
class _Past:
    at_ns: int
    usage_ns: int
    rate: int | None = None


class CpuRates:
    """Rates by key. The first reading of a key has none: a counter alone says nothing about now."""

    def __init__(self) -> None:
        self._past: dict[str, _Past] = {}

    def rate(self, key: str, at_ns: int, usage_ns: int) -> int | None:
        """Billionths of a core since an earlier reading, of which this is one; None where there is none yet."""
        past = self._past.get(key)
        if past is None or usage_ns < past.usage_ns or at_ns < past.at_ns:  # a new cgroup, or a clock that was set
            self._past[key] = _Past(at_ns, usage_ns)
            return None
        elapsed_ns = at_ns - past.at_ns
        if elapsed_ns >= MIN_WINDOW_NS:
            self._past[key] = past = _Past(at_ns, usage_ns, (usage_ns - past.usage_ns) * 1_000_000_000 // elapsed_ns)
        return past.rate

    def forget(self, key: str) -> None:
        self._past.pop(key, None)
