"""What the daemon may not set for others because it may not set it for itself: oom_score_adj and rlimits.

Without CAP_SYS_RESOURCE a process can't go below the oom_score_adj it was given, nor above its hard rlimits, and
a runtime that is told to fails. Values are clamped instead, with one warning each in the daemon's life.
"""

from __future__ import annotations

import resource
from pathlib import Path

from podwright.base.log import get_logger
from podwright.oci.runtime_spec import Rlimit

log = get_logger(__name__)

OOM_SCORE_ADJ_MIN, OOM_SCORE_ADJ_MAX = -1000, 1000
_warned: set[str] = set()


def oom_score_adj_floor(capabilities: frozenset[str]) -> int:
    """The least oom_score_adj this daemon can give. proc(5), /proc/PID/oom_score_adj."""
    if "CAP_SYS_RESOURCE" in capabilities:
        return OOM_SCORE_ADJ_MIN
    return int(Path("/proc/self/oom_score_adj").read_text())


def clamp_oom_score_adj(asked: int, floor: int) -> int:
    """`asked`, but within the kernel's range and not below `floor`."""
    if asked < floor:
        _warn_once(
            "oom_score_adj",
            "this daemon may not lower oom_score_adj (no CAP_SYS_RESOURCE), so containers keep the daemon's",
            asked=asked, given=floor,
        )  # fmt: skip
    return max(floor, min(OOM_SCORE_ADJ_MAX, max(OOM_SCORE_ADJ_MIN, asked)))


def clamp_rlimit(limit: Rlimit, *, may_raise: bool) -> Rlimit:
    """`limit` with soft ≤ hard, and hard ≤ the daemon's own unless it may raise them. setrlimit(2)."""
    number = getattr(resource, limit.type, None)
    ceiling = resource.RLIM_INFINITY if number is None or may_raise else resource.getrlimit(number)[1]
    hard = limit.hard if ceiling == resource.RLIM_INFINITY else min(limit.hard, ceiling)
    if hard != limit.hard:
        _warn_once(limit.type, "this daemon may not raise a limit", limit=limit.type, asked=limit.hard, given=hard)
    return Rlimit(type=limit.type, hard=hard, soft=min(limit.soft, hard))


def _warn_once(key: str, message: str, **facts: object) -> None:
    if key not in _warned:
        _warned.add(key)
        log.warning(message, **facts)
