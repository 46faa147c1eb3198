"""What metrics want of a cgroup, from v1's files and v2's."""

from __future__ import annotations

from pathlib import Path

import pytest

from podwright.cgroup import details
from podwright.cgroup.details import CgroupDetails, CpuTimes, DeviceIo, HugePages, LimitsInForce, Tasks
from podwright.cgroup.v1 import CgroupV1
from podwright.cgroup.v2 import CgroupV2, weight_of
from tests.unit.cgroup import trees


@pytest.fixture(autouse=True)
def two_sizes_of_huge_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(details, "page_sizes", lambda: ("2MB", "1GB"))


def test_v1(tmp_path: Path) -> None:
    kernel = CgroupV1(trees.detailed_v1(tmp_path, "/a"))
    assert kernel.details("/a") == CgroupDetails(
        limits=LimitsInForce(1024, 100000, 20000, 64 << 20, 32 << 20, 96 << 20),
        cpu=CpuTimes(3000, 2000, 10, 3, 900),
        tasks=Tasks(3, 0),
        memory_peak_bytes=200000,
        memory_failures=2,
        io=(DeviceIo(8, 0, 4096, 3, 8192, 5), DeviceIo(253, 1, 0, 0, 512, 1)),
        huge_pages=(HugePages("2MB", 2 << 20, 4 << 20),),
        kernel_memory_bytes=7000,
        own_page_faults=66,
        own_major_page_faults=6,
        oom_kills=4,
    )


def test_v2(tmp_path: Path) -> None:
    kernel = CgroupV2(trees.detailed_v2(tmp_path, "/a"))
    assert kernel.details("/a") == CgroupDetails(
        limits=LimitsInForce(details.shares_of(39), 100000, 20000, 64 << 20, 32 << 20, 16 << 20),
        cpu=CpuTimes(3000, 2000, 10, 3, 9000),
        tasks=Tasks(3, 100),
        memory_peak_bytes=200000,
        memory_failures=2,
        io=(DeviceIo(8, 0, 4096, 3, 8192, 5),),
        huge_pages=(HugePages("2MB", 2 << 20, None),),
        kernel_memory_bytes=7000,
        own_page_faults=77,
        own_major_page_faults=7,
        oom_kills=4,
    )


def test_no_limits_are_zero(tmp_path: Path) -> None:
    unlimited = 9223372036854771712
    mounts = trees.detailed_v1(
        tmp_path / "v1", "/a", memory__limit_in_bytes=unlimited, memory__soft_limit_in_bytes=unlimited,
        memory__memsw__limit_in_bytes=unlimited,
    )  # fmt: skip
    (tmp_path / "v1/cpu/a/cpu.cfs_quota_us").write_text("-1\n")
    assert CgroupV1(mounts).details("/a").limits == LimitsInForce(1024, 100000)
    mount = trees.detailed_v2(
        tmp_path / "v2", "/a", cpu__max="max 100000", memory__max="max", memory__min=0, memory__swap__max="max"
    )
    assert CgroupV2(mount).details("/a").limits == LimitsInForce(details.shares_of(39), 100000)


def test_a_cgroup_that_is_gone(tmp_path: Path) -> None:
    assert CgroupV1(trees.v1(tmp_path / "v1", "/a")).details("/b") == CgroupDetails(LimitsInForce())
    assert CgroupV2(trees.v2(tmp_path / "v2", "/a")).details("/b") == CgroupDetails(LimitsInForce())


def test_a_device_without_counters(tmp_path: Path) -> None:
    mount = trees.detailed_v2(tmp_path, "/a", io__stat="7:0 \n8:0 rbytes=1 wbytes=2 rios=3 wios=4 cost.usage=oops\n")
    assert CgroupV2(mount).details("/a").io == (DeviceIo(8, 0, 1, 3, 2, 4),)


@pytest.mark.parametrize("shares", [2, 1024, 262144])
def test_weights_become_shares_again(shares: int) -> None:
    assert abs(details.shares_of(weight_of(shares)) - shares) <= 28  # a weight stands for 26 shares


def test_an_older_kernel_leaves_the_sum_of_its_memory_to_others(tmp_path: Path) -> None:
    stat = trees.V2_MEMORY_STAT + "kernel_stack 10\npagetables 20\npercpu 1\nsock 2\nslab 300\n"
    mount = trees.detailed_v2(tmp_path, "/a", memory__stat=stat)
    (tmp_path / "a/memory.peak").unlink()
    found = CgroupV2(mount).details("/a")
    assert (found.kernel_memory_bytes, found.memory_peak_bytes) == (333, None)
