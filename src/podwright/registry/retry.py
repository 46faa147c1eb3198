"""When a failed request is made again: only for faults that pass, after growing pauses, a bounded number of times."""

from __future__ import annotations

import random

from podwright.base.errors import PodwrightError
from podwright.registry.base import RateLimited, RegistryUnavailable, Stalled

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 8.0
# A registry that wants a longer pause is left to the kubelet's own back-off.
_LONGEST_WISH_S = 30.0


class Backoff:
    """Counts the failures of one piece of work."""

    def __init__(self, retries: int) -> None:
        self._retries = retries
        self._failures = 0
        self._stalls = 0

    def progressed(self) -> None:
        """The work has come further since the last failure: it gets all its chances again."""
        self._failures = self._stalls = 0

    def next_pause(self, error: PodwrightError) -> float | None:
        """How many seconds to wait before the next attempt; None: `error` is final."""
        self._failures += 1
        if self._failures > self._retries:
            return None
        if isinstance(error, RateLimited):
            wish = error.retry_after_s or _growing(self._failures + 1)
            return wish if wish <= _LONGEST_WISH_S else None
        if isinstance(error, Stalled):
            # Each stall has cost a whole progress timeout already.
            self._stalls += 1
            return 0.0 if self._stalls <= 1 else None
        return _growing(self._failures) if isinstance(error, RegistryUnavailable) else None


def _growing(failures: int) -> float:
    """Doubling, with jitter, so that a fleet of nodes doesn't come back at one moment."""
    return min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** (failures - 1)) * random.uniform(0.5, 1.0)
