"""linux.resources as files of either kernel layout."""

from __future__ import annotations

from podwright.cgroup import limits
from podwright.oci.runtime_spec import Cpu, DeviceRule, HugepageLimit, LinuxResources, Memory, Pids

RESOURCES = LinuxResources(
    memory=Memory(limit=1000, swap=1500, reservation=500), pids=Pids(limit=7),
    cpu=Cpu(shares=1024, quota=5000, period=10000, cpus="0-1"),
    hugepage_limits=[HugepageLimit(page_size="2MB", limit=4)], unified={"memory.high": "900"},
)  # fmt: skip


def test_v1() -> None:
    assert limits.v1(RESOURCES) == {
        "memory.limit_in_bytes": "1000", "memory.memsw.limit_in_bytes": "1500", "memory.soft_limit_in_bytes": "500",
        "cpu.shares": "1024", "cpu.cfs_period_us": "10000", "cpu.cfs_quota_us": "5000", "cpuset.cpus": "0-1",
        "pids.max": "7", "hugetlb.2MB.limit_in_bytes": "4",
    }  # fmt: skip


def test_v2_counts_swap_alone() -> None:
    assert limits.v2(RESOURCES) == {
        "memory.max": "1000", "memory.swap.max": "500", "memory.low": "500", "cpu.weight": "39",
        "cpu.max": "5000 10000", "cpuset.cpus": "0-1", "pids.max": "7", "hugetlb.2MB.max": "4", "memory.high": "900",
    }  # fmt: skip


def test_no_limit() -> None:
    resources = LinuxResources(memory=Memory(limit=-1, swap=-1), cpu=Cpu(quota=-1, period=1000), pids=Pids(limit=0))
    assert limits.v2(resources) == {
        "memory.max": "max", "memory.swap.max": "max", "cpu.max": "max 1000", "pids.max": "max"
    }  # fmt: skip
    assert limits.v1(resources)["memory.limit_in_bytes"] == "-1"
    assert limits.v1(resources)["pids.max"] == "max"
    assert limits.v1(LinuxResources()) == limits.v2(LinuxResources()) == {}


def test_devices_begin_with_none_and_the_default_ones() -> None:
    rules = [
        DeviceRule(allow=False, access="rwm"),
        DeviceRule(allow=True, access="rw", type="c", major=10, minor=229),
        DeviceRule(allow=True, access="m", type="b", major=8),
    ]
    found = limits.devices_v1(rules)
    assert found[0] == ("devices.deny", "a")
    assert ("devices.allow", "c 1:3 rwm") in found
    assert found[-2:] == [("devices.allow", "c 10:229 rw"), ("devices.allow", "b 8:* m")]
    assert limits.devices_v1([DeviceRule(allow=True, access="rwm")])[-1] == ("devices.allow", "a")
