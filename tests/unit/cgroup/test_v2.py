"""What v2's files mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from podwright.base.errors import InvalidArgument
from podwright.cgroup.base import CpuStats, Limits, Pressure, PressureStats, SwapStats
from podwright.cgroup.v2 import CgroupV2, shares_of, weight_of
from podwright.oci.runtime_spec import Cpu, LinuxResources, Memory
from tests.unit.cgroup import trees

PRESSURE = PressureStats(Pressure(1.5, 0.25, 0.0, 12345), Pressure(0.5, 0.0, 0.0, 678))


def test_counters(tmp_path: Path) -> None:
    stats = CgroupV2(trees.v2(tmp_path, "/a/b")).stats("/a/b")
    assert stats is not None
    assert stats.cpu == CpuStats(5000, PRESSURE)
    assert stats.io_pressure == PRESSURE
    memory = stats.memory
    assert memory is not None
    assert (memory.usage_bytes, memory.working_set_bytes, memory.rss_bytes) == (100000, 70000, 81920)
    assert (memory.page_faults, memory.major_page_faults) == (77, 7)
    assert (memory.limit_bytes, memory.swap) == (0, SwapStats(2048, None))
    assert memory.pressure == PRESSURE


def test_a_kernel_without_pressure(tmp_path: Path) -> None:
    mount = trees.v2(tmp_path, "/a", memory__max=80000)
    for name in ("cpu", "memory", "io"):
        (tmp_path / "a" / f"{name}.pressure").unlink()
    stats = CgroupV2(mount).stats("/a")
    assert stats is not None
    assert stats.cpu is not None
    assert stats.memory is not None
    assert stats.cpu.pressure is stats.memory.pressure is stats.io_pressure is None
    assert stats.memory.available_bytes == 10000


def test_some_without_full(tmp_path: Path) -> None:
    mount = trees.v2(tmp_path, "/a", cpu__pressure=trees.PRESSURE.splitlines()[0] + "\n")
    stats = CgroupV2(mount).stats("/a")
    assert stats is not None
    assert stats.cpu is not None
    assert stats.cpu.pressure == PressureStats(PRESSURE.some)


@pytest.mark.parametrize(("limit", "available"), [("max", None), (0, 0), (4096, 2048), (1024, 0)])
def test_what_may_still_be_swapped(tmp_path: Path, limit: object, available: int | None) -> None:
    memory = (CgroupV2(trees.v2(tmp_path, "/a", memory__swap__max=limit)).stats("/a") or pytest.fail("gone")).memory
    assert memory is not None
    assert memory.swap is not None
    assert memory.swap.available_bytes == available


def test_a_kernel_that_does_not_account_for_swap(tmp_path: Path) -> None:
    mount = trees.v2(tmp_path, "/a")
    (tmp_path / "a/memory.swap.current").unlink()
    memory = (CgroupV2(mount).stats("/a") or pytest.fail("gone")).memory
    assert memory is not None
    assert memory.swap is None


def test_a_cgroup_that_is_gone(tmp_path: Path) -> None:
    kernel = CgroupV2(trees.v2(tmp_path, "/a"))
    assert kernel.stats("/b") is None
    assert kernel.oom_kills("/b") is None
    assert kernel.processes("/b") == []
    kernel.kill("/b")
    kernel.set_frozen("/b", frozen=True)


def test_kills_are_counted_not_mere_shortages(tmp_path: Path) -> None:
    assert CgroupV2(trees.v2(tmp_path, "/a")).oom_kills("/a") == 4


def test_controllers_are_handed_down(tmp_path: Path) -> None:
    trees.write(tmp_path, cgroup__controllers="cpu io memory pids", cgroup__subtree_control="")
    CgroupV2(str(tmp_path)).prepare(f"{tmp_path}/a")
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +io +memory +pids"
    trees.write(tmp_path, cgroup__subtree_control="cpu io memory pids")
    CgroupV2(str(tmp_path)).prepare(f"{tmp_path}/a")
    assert "+" not in (tmp_path / "cgroup.subtree_control").read_text()


def test_limits_are_written(tmp_path: Path) -> None:
    mount = trees.v2(tmp_path, "/a", cpu__max="max 100000", cpu__weight="", memory__max="", pids__max="")
    CgroupV2(mount).set_limits("/a", Limits(1024, 50000, None, 1 << 20, -1))
    assert (tmp_path / "a/cpu.weight").read_text().strip() == "39"
    assert (tmp_path / "a/cpu.max").read_text().strip() == "50000 100000"
    assert (tmp_path / "a/memory.max").read_text().strip() == "1048576"
    assert (tmp_path / "a/pids.max").read_text().strip() == "max"
    (tmp_path / "a/memory.max").unlink()
    with pytest.raises(InvalidArgument, match=r"memory\.max can't be set: its controller is not enabled"):
        CgroupV2(mount).set_limits("/a", Limits(memory_bytes=1))


@pytest.mark.parametrize(("shares", "weight"), [(0, 1), (2, 1), (1024, 39), (262144, 10000), (10**9, 10000)])
def test_shares_become_weights(shares: int, weight: int) -> None:
    assert weight_of(shares) == weight


@pytest.mark.parametrize("weight", [1, 2, 39, 100, 9999, 10000])
def test_shares_are_found_again(weight: int) -> None:
    assert weight_of(shares_of(weight)) == weight


@pytest.mark.parametrize(
    ("saved", "expected"),
    [
        ({}, LinuxResources()),
        ({"memory.high": "5", "hugetlb.2MB.max": "max"}, LinuxResources()),
        ({"memory.max": "max", "memory.swap.max": "max"}, LinuxResources(memory=Memory(limit=-1, swap=-1))),
        ({"memory.max": "64", "memory.swap.max": "36"}, LinuxResources(memory=Memory(limit=64, swap=100))),
        ({"memory.max": "64"}, LinuxResources(memory=Memory(limit=64, swap=-1))),
        ({"cpu.max": "max 100000"}, LinuxResources(cpu=Cpu(quota=-1, period=100000))),
        ({"cpu.weight": "1", "cpuset.cpus": "0-1"}, LinuxResources(cpu=Cpu(shares=2, cpus="0-1"))),
    ],
)
def test_saved_files_in_a_runtimes_words(saved: dict[str, str], expected: LinuxResources) -> None:
    assert CgroupV2("/nowhere").as_resources(saved) == expected
