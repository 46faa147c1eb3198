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


def cgroupfs(tmp_path: Path) -> CgroupDriver:
    mounts = {name: str(tmp_path / name) for name in ("cpu", "memory")}
    for mount in mounts.values():
        Path(mount).mkdir(exist_ok=True)
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
    assert driver.pod_parent("", "abc") == "podwright.slice"
    parent = driver.pod_parent("kubepods-podX.slice", "abc")
    assert driver.container_path(parent, "c1") == "kubepods-podX.slice:podwright:c1"
    assert driver.kernel_path(parent) == "/kubepods.slice/kubepods-podX.slice"
    assert driver.kernel_path(parent, "c1") == "/kubepods.slice/kubepods-podX.slice/podwright-c1.scope"
    assert driver.missing_parents(parent) == driver.create_parent(parent) == ()
    assert systemd(tmp_path, "pods.slice").pod_parent("", "abc") == "pods.slice"


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
