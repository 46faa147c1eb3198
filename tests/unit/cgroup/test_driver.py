"""Parents, paths and names, for each naming."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from podwright.base.errors import InvalidArgument
from podwright.cgroup.base import CgroupDriver, Limits
from podwright.cgroup.driver import Cgroups
from podwright.cgroup.v1 import CgroupV1
from podwright.cgroup.v2 import CgroupV2
from podwright.oci.runtime_spec import Cpu, HugepageLimit, LinuxResources, Memory


def cgroupfs(tmp_path: Path) -> CgroupDriver:
    mounts = {name: str(tmp_path / name) for name in ("cpu", "memory")}
    for mount in mounts.values():
        Path(mount).mkdir(exist_ok=True, parents=True)
    return Cgroups(CgroupV1(mounts), version="v1", naming="cgroupfs", default_parent="/podwright")


def systemd(tmp_path: Path, default_parent: str = "/podwright") -> CgroupDriver:
    return Cgroups(CgroupV2(str(tmp_path)), version="v2", naming="systemd", default_parent=default_parent)


def test_cgroupfs_names(tmp_path: Path) -> None:
    driver = cgroupfs(tmp_path)
    assert driver.pod_parent("", "abc") == "/podwright/abc"
    assert driver.pod_parent("/kubepods/burstable/podX/", "abc") == "/kubepods/burstable/podX"
    assert driver.container_path("/kubepods/podX", "c1") == "/kubepods/podX/c1"
    assert driver.kernel_path("/kubepods/podX") == "/kubepods/podX"
    assert driver.kernel_path("/kubepods/podX", "c1") == "/kubepods/podX/c1"


def test_systemd_names(tmp_path: Path) -> None:
    driver = systemd(tmp_path)
    assert driver.pod_parent("", "abc") == "podwright-abc.slice"
    parent = driver.pod_parent("kubepods-podX.slice", "abc")
    assert driver.container_path(parent, "c1") == "kubepods-podX.slice:podwright:c1"
    assert driver.kernel_path(parent) == "/kubepods.slice/kubepods-podX.slice"
    assert driver.kernel_path(parent, "c1") == "/kubepods.slice/kubepods-podX.slice/podwright-c1.scope"
    assert driver.missing_parents(parent) == driver.create_parent(parent) == ()
    assert systemd(tmp_path, "pods.slice").pod_parent("", "abc") == "pods-abc.slice"


def test_the_other_drivers_syntax_is_translated(tmp_path: Path) -> None:
    slice_path = "/kubepods.slice/kubepods-podX.slice"
    assert cgroupfs(tmp_path).pod_parent("kubepods-podX.slice", "abc") == slice_path
    assert systemd(tmp_path).pod_parent("/kubepods/podX", "abc") == "kubepods-podX.slice"


@pytest.mark.parametrize("asked", ["/../x", "/", "a--b.slice"])
def test_bad_parents_are_refused(tmp_path: Path, asked: str) -> None:
    for driver in (cgroupfs(tmp_path), systemd(tmp_path)):
        with pytest.raises(InvalidArgument, match="cgroup_parent"):
            driver.pod_parent(asked, "abc")


def test_missing_parents_are_made_and_removed(tmp_path: Path) -> None:
    driver = cgroupfs(tmp_path)
    (tmp_path / "cpu/podwright").mkdir()
    planned = driver.missing_parents("/podwright/abc")
    wanted = ("memory/podwright", "cpu/podwright/abc", "memory/podwright/abc")
    assert planned == tuple(f"{tmp_path}/{path}" for path in wanted)
    assert driver.create_parent("/podwright/abc") == planned
    assert driver.missing_parents("/podwright/abc") == ()
    assert driver.create_parent("/podwright/abc") == ()
    assert driver.remove(planned) == ()
    assert os.listdir(tmp_path / "cpu") == os.listdir(tmp_path / "memory") == []
    assert driver.remove(planned) == ()


def test_the_default_parent_goes_with_the_last_pod(tmp_path: Path) -> None:
    driver = cgroupfs(tmp_path)
    first = driver.create_parent("/podwright/first")
    second = driver.create_parent("/podwright/second")
    assert driver.remove(first) == (f"{tmp_path}/cpu/podwright", f"{tmp_path}/memory/podwright")
    assert driver.remove(second) == ()
    assert os.listdir(tmp_path / "cpu") == []


def test_what_others_use_stays(tmp_path: Path) -> None:
    driver = cgroupfs(tmp_path)
    made = driver.create_parent("/foreign/pod")
    (tmp_path / "cpu/foreign/other").mkdir()
    assert driver.remove(made) == (f"{tmp_path}/cpu/foreign",)
    assert driver.remove(()) == ()


def test_a_limit_that_fails_leaves_nothing(tmp_path: Path) -> None:
    driver = cgroupfs(tmp_path)
    with pytest.raises(InvalidArgument, match=r"no cgroup controller 'pids'"):
        driver.create_parent("/podwright/abc", Limits(pids=5))
    assert os.listdir(tmp_path / "cpu") == []


CHANGE = LinuxResources(
    memory=Memory(limit=1), cpu=Cpu(shares=2, period=3, cpus="0"),
    hugepage_limits=[HugepageLimit(page_size="2MB", limit=4)], unified={"memory.high": "5"},
)  # fmt: skip


def test_what_an_update_writes_is_saved_and_restored_on_v1(tmp_path: Path) -> None:
    contents = {
        "memory.limit_in_bytes": "10", "memory.memsw.limit_in_bytes": "20", "cpu.shares": "30",
        "cpu.cfs_period_us": "40", "cpu.cfs_quota_us": "-1", "cpuset.cpus": "",
    }  # fmt: skip
    mounts = {name: str(tmp_path / name) for name in ("memory", "cpu", "cpuset")}
    for name, content in contents.items():
        file = tmp_path / name.partition(".")[0] / "c" / name
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text(content + "\n")
    driver = Cgroups(CgroupV1(mounts), version="v1", naming="cgroupfs", default_parent="/podwright")
    assert driver.save("/c", CHANGE) == contents, "and there is no hugetlb here"
    (tmp_path / "cpu/c/cpu.shares").write_text("31\n")
    driver.restore("/c", {**contents, "cpu.gone": "1"})
    assert (tmp_path / "cpu/c/cpu.shares").read_text() == "30\n"
    driver.restore("/gone", contents)


def test_what_an_update_writes_is_saved_and_restored_on_v2(tmp_path: Path) -> None:
    contents = {
        "memory.max": "max", "memory.swap.max": "0", "cpu.weight": "30", "cpu.max": "max 100000", "cpuset.cpus": "",
        "hugetlb.2MB.max": "max", "memory.high": "70",
        "cpuset.cpus.effective": "0-1",
    }  # fmt: skip
    (tmp_path / "c").mkdir()
    for name, content in contents.items():
        (tmp_path / "c" / name).write_text(content + "\n")
    driver = systemd(tmp_path)
    inherited = contents.pop("cpuset.cpus.effective")
    contents["cpuset.cpus"] = inherited
    assert driver.save("/c", CHANGE) == contents
    (tmp_path / "c" / "cpu.max").write_text("1 2\n")
    driver.restore("/c", contents)
    assert (tmp_path / "c" / "cpu.max").read_text() == "max 100000\n"


def test_which_limits_the_kernel_has(tmp_path: Path) -> None:
    v1 = cgroupfs(tmp_path / "v1")
    assert (v1.limits_hugepages(), v1.limits_swap()) == (False, False)
    with pytest.raises(InvalidArgument, match="hugetlb"):
        v1.set_limits("/c", Limits(hugepages={"2MB": 0}))
    (tmp_path / "v1/memory/memory.memsw.limit_in_bytes").touch()
    assert v1.limits_swap()

    v2, child = systemd(tmp_path / "v2"), tmp_path / "v2/system.slice"
    child.mkdir(parents=True)
    assert (v2.limits_hugepages(), v2.limits_swap()) == (False, True)
    (child / "memory.max").touch()
    assert not v2.limits_swap()
    (child / "memory.swap.max").touch()
    (tmp_path / "v2/cgroup.controllers").write_text("cpu hugetlb memory\n")
    assert (v2.limits_hugepages(), v2.limits_swap()) == (True, True)
    (child / "hugetlb.2MB.max").touch()
    v2.set_limits("/system.slice", Limits(hugepages={"2MB": 4096}))
    assert (child / "hugetlb.2MB.max").read_text() == "4096"
