"""What v1's files mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from podwright.base.errors import InvalidArgument
from podwright.cgroup.base import CpuStats, Limits, Pressure, PressureStats, SwapStats
from podwright.cgroup.v1 import CgroupV1
from tests.unit.cgroup import trees


def test_counters(tmp_path: Path) -> None:
    stats = CgroupV1(trees.v1(tmp_path, "/a/b")).stats("/a/b")
    assert stats is not None
    assert stats.timestamp_ns > 0
    assert stats.cpu == CpuStats(5000)
    memory = stats.memory
    assert memory is not None
    assert (memory.usage_bytes, memory.working_set_bytes, memory.rss_bytes) == (100000, 70000, 81920)
    assert (memory.page_faults, memory.major_page_faults) == (77, 7)
    assert (memory.limit_bytes, memory.available_bytes) == (0, 0)
    assert memory.swap == SwapStats(2048, None)
    assert (memory.pressure, stats.io_pressure) == (None, None)


def test_limits_are_reported(tmp_path: Path) -> None:
    mounts = trees.v1(tmp_path, "/a", memory__limit_in_bytes=80000, memory__memsw__limit_in_bytes=100000)
    memory = (CgroupV1(mounts).stats("/a") or pytest.fail("gone")).memory
    assert memory is not None
    assert (memory.limit_bytes, memory.available_bytes, memory.swap) == (80000, 10000, SwapStats(2048, 20000))


def test_no_swap_is_a_limit_of_its_own(tmp_path: Path) -> None:
    """The kubelet's NoSwap: memory and swap together may be as much as memory alone."""
    mounts = trees.v1(tmp_path, "/a", memory__limit_in_bytes=80000, memory__memsw__limit_in_bytes=80000)
    memory = (CgroupV1(mounts).stats("/a") or pytest.fail("gone")).memory
    assert memory is not None
    assert memory.swap == SwapStats(2048, 0)
    assert memory.swap.available_bytes == 0


def test_a_kernel_that_does_not_account_for_swap(tmp_path: Path) -> None:
    without = trees.V1_MEMORY_STAT.replace("total_swap 2048\n", "")
    memory = (CgroupV1(trees.v1(tmp_path, "/a", memory__stat=without)).stats("/a") or pytest.fail("gone")).memory
    assert memory is not None
    assert memory.swap is None


@pytest.mark.parametrize("populated", [0, 1])
def test_pressure_comes_from_a_v2_hierarchy_that_has_the_processes(tmp_path: Path, populated: int) -> None:
    """Hybrid hosts: the kernel keeps pressure in v2 alone, and a container may not be there."""
    mounts = trees.v1(tmp_path, "/a")
    files = {f"{name}__pressure": trees.PRESSURE for name in ("cpu", "memory", "io")}
    trees.write(tmp_path / "unified/a", cgroup__events=f"populated {populated}\nfrozen 0\n", **files)
    stats = CgroupV1(mounts, f"{tmp_path}/unified").stats("/a")
    assert stats is not None
    assert stats.cpu is not None
    assert stats.memory is not None
    expected = PressureStats(Pressure(1.5, 0.25, 0.0, 12345), Pressure(0.5, 0.0, 0.0, 678)) if populated else None
    assert (stats.cpu.pressure, stats.memory.pressure, stats.io_pressure) == (expected, expected, expected)


def test_the_working_set_is_never_negative(tmp_path: Path) -> None:
    memory = (CgroupV1(trees.v1(tmp_path, "/a", memory__usage_in_bytes=100)).stats("/a") or pytest.fail("gone")).memory
    assert memory is not None
    assert memory.working_set_bytes == 0


def test_a_cgroup_that_is_gone(tmp_path: Path) -> None:
    kernel = CgroupV1(trees.v1(tmp_path, "/a"))
    assert kernel.stats("/b") is None
    assert kernel.oom_kills("/b") is None
    assert kernel.processes("/b") == []
    kernel.kill("/b")
    kernel.set_frozen("/b", frozen=True)


def test_controllers_that_are_not_mounted(tmp_path: Path) -> None:
    mounts = trees.v1(tmp_path, "/a")
    kernel = CgroupV1({"devices": mounts["freezer"]})
    stats = kernel.stats("/a")
    assert stats is not None
    assert (stats.cpu, stats.memory) == (None, None)
    with pytest.raises(InvalidArgument, match="no cgroup controller 'memory'"):
        kernel.set_limits("/a", Limits(memory_bytes=1))


def test_oom_kills(tmp_path: Path) -> None:
    assert CgroupV1(trees.v1(tmp_path, "/a")).oom_kills("/a") == 4


def test_processes_of_the_cgroup_and_below(tmp_path: Path) -> None:
    kernel = CgroupV1(trees.v1(tmp_path, "/a"))
    trees.write(tmp_path / "freezer" / "a", cgroup__procs="12\n0\n13\n")
    trees.write(tmp_path / "freezer" / "a" / "below", cgroup__procs="14\n")
    assert sorted(kernel.processes("/a")) == [12, 13, 14]


def test_a_new_cpuset_takes_its_parents_cpus(tmp_path: Path) -> None:
    kernel = CgroupV1({"cpuset": f"{tmp_path}/cpuset", "cpu": f"{tmp_path}/cpu"})
    trees.write(tmp_path / "cpuset", cpuset__cpus="0-3", cpuset__mems="0")
    trees.write(tmp_path / "cpuset" / "a", cpuset__cpus="", cpuset__mems="")
    kernel.prepare(f"{tmp_path}/cpuset/a")
    assert (tmp_path / "cpuset/a/cpuset.cpus").read_text().strip() == "0-3"
    assert (tmp_path / "cpuset/a/cpuset.mems").read_text().strip() == "0"
    kernel.prepare(f"{tmp_path}/cpu/a")


def test_limits_are_written(tmp_path: Path) -> None:
    mounts = trees.v1(tmp_path, "/a")
    for controller, names in {
        "cpu": ("cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us"), "memory": ("memory.limit_in_bytes",),
        "pids": ("pids.max",),
    }.items():  # fmt: skip
        for name in names:
            (tmp_path / controller / "a" / name).write_text("")
    CgroupV1(mounts).set_limits("/a", Limits(512, 50000, 100000, 1 << 20, 0))
    assert (tmp_path / "cpu/a/cpu.shares").read_text() == "512"
    assert (tmp_path / "cpu/a/cpu.cfs_quota_us").read_text() == "50000"
    assert (tmp_path / "memory/a/memory.limit_in_bytes").read_text() == "1048576"
    assert (tmp_path / "pids/a/pids.max").read_text() == "max"
