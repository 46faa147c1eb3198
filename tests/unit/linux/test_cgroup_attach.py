"""Which file stands for "where we are already", and that writing it changes nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from podwright.linux.cgroup_attach import find_hierarchy, own_procs_file, short_attach
from podwright.linux.mounts import MountInfo


def mount(fstype: str, target: str, *options: str) -> MountInfo:
    return MountInfo(1, 1, "/", target, ("rw",), (), fstype, fstype, options)


V1 = [mount("cgroup", "/c/memory", "rw", "memory"), mount("cgroup", "/c/cpu", "rw", "cpu", "cpuacct")]
V2 = mount("cgroup2", "/c/unified", "rw")


def test_v2_before_v1() -> None:
    assert find_hierarchy([*V1, V2]) == ("/c/unified", "")
    assert find_hierarchy(V1[1:]) == ("/c/cpu", "cpu,cpuacct")
    assert find_hierarchy([]) == ("", "")


@pytest.mark.parametrize(
    ("hierarchy", "cgroups", "expected"),
    [
        (("/sys/fs/cgroup", ""), "0::/system.slice/x.service\n", "/sys/fs/cgroup/system.slice/x.service/cgroup.procs"),
        (("/c/unified", ""), "4:memory:/a\n0::/\n", "/c/unified/cgroup.procs"),
        (("/c/cpu", "cpu,cpuacct"), "4:memory:/a\n1:cpu,cpuacct:/b:c\n", "/c/cpu/b:c/cgroup.procs"),
        (("/c/unified", ""), "0::/../outside\n", None),
        (("/c/unified", ""), "4:memory:/a\n", None),
        (("", ""), "0::/\n", None),
    ],
)
def test_own_procs_file(hierarchy: tuple[str, str], cgroups: str, expected: str | None) -> None:
    assert own_procs_file(hierarchy, cgroups) == (Path(expected) if expected else None)


async def test_it_changes_nothing_and_may_overlap() -> None:
    before = Path("/proc/self/cgroup").read_text()
    with short_attach(), short_attach():
        await asyncio.sleep(0.01)
    with short_attach():
        pass
    await asyncio.sleep(0.05)
    assert Path("/proc/self/cgroup").read_text() == before
