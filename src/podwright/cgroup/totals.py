"""The counters of several cgroups as one, for pods that share their parent with others. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from podwright.cgroup.base import CgroupStats, CpuStats, MemoryStats, SwapStats


def total(parts: Sequence[CgroupStats], timestamp_ns: int) -> CgroupStats:
    """Sums of what adds up: limits and pressures don't."""
    return CgroupStats(
        timestamp_ns,
        CpuStats(sum(part.cpu.usage_ns for part in parts if part.cpu)),
        _memory([part.memory for part in parts if part.memory]),
    )


def _memory(parts: Sequence[MemoryStats]) -> MemoryStats:
    swap = [part.swap for part in parts if part.swap]
    return MemoryStats(
        usage_bytes=sum(part.usage_bytes for part in parts),
        working_set_bytes=sum(part.working_set_bytes for part in parts),
        rss_bytes=sum(part.rss_bytes for part in parts),
        cache_bytes=sum(part.cache_bytes for part in parts),
        mapped_file_bytes=sum(part.mapped_file_bytes for part in parts),
        page_faults=sum(part.page_faults for part in parts),
        major_page_faults=sum(part.major_page_faults for part in parts),
        swap=SwapStats(sum(each.usage_bytes for each in swap)) if swap else None,
    )
