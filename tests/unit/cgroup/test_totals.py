"""Several cgroups as one."""

from __future__ import annotations

from podwright.cgroup.base import CgroupStats, CpuStats, MemoryStats, SwapStats
from podwright.cgroup.totals import total


def test_counters_add_up_and_limits_do_not() -> None:
    one = CgroupStats(1, CpuStats(5), MemoryStats(100, 70, 50, limit_bytes=1000, swap=SwapStats(7, 10)))
    two = CgroupStats(2, CpuStats(50), MemoryStats(1000, 700, 500, limit_bytes=1000))
    assert total([one, two], 9) == CgroupStats(9, CpuStats(55), MemoryStats(1100, 770, 550, swap=SwapStats(7)))


def test_nothing_is_zero() -> None:
    assert total([], 9) == CgroupStats(9, CpuStats(), MemoryStats())


def test_parts_without_a_controller() -> None:
    assert total([CgroupStats(1), CgroupStats(1, CpuStats(5))], 9).cpu == CpuStats(5)
