"""Which layout a mount table means, and which driver goes with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from podwright.base.errors import FailedPrecondition
from podwright.cgroup import detect
from podwright.cgroup.base import Settings
from podwright.linux.mounts import MountInfo


def mount(target: str, fstype: str, *options: str) -> MountInfo:
    return MountInfo(1, 0, "/", target, ("rw",), (), fstype, fstype, ("rw", *options))


ROOT = mount("/", "ext4")
UNIFIED = mount("/sys/fs/cgroup", "cgroup2", "nsdelegate")
V1 = [mount("/c/cpu,cpuacct", "cgroup", "cpu", "cpuacct"), mount("/c/memory", "cgroup", "memory", "x")]
SYSTEMD = mount("/c/systemd", "cgroup", "name=systemd", "xattr")


def test_v2() -> None:
    assert detect.hierarchies([ROOT, UNIFIED]) == detect.Hierarchies("v2", {}, "/sys/fs/cgroup")


def test_v1() -> None:
    found = detect.hierarchies([ROOT, *V1, SYSTEMD])
    assert found.version == "v1"
    assert found.controllers == {
        "cpu": "/c/cpu,cpuacct", "cpuacct": "/c/cpu,cpuacct", "memory": "/c/memory", "name=systemd": "/c/systemd",
    }  # fmt: skip


def test_hybrid() -> None:
    found = detect.hierarchies([*V1, SYSTEMD, mount("/c/unified", "cgroup2"), mount("/elsewhere", "cgroup2")])
    assert (found.version, found.unified) == ("hybrid", "/c/unified")


def test_a_named_hierarchy_beside_v2_is_still_v2() -> None:
    assert detect.hierarchies([UNIFIED, SYSTEMD]).version == "v2"


def test_nothing_mounted() -> None:
    with pytest.raises(FailedPrecondition, match="mount -t cgroup2"):
        detect.hierarchies([ROOT])


def test_auto_is_systemd_only_under_systemd_on_v2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect, "_SYSTEMD_RUNS", tmp_path)
    assert detect.naming(Settings(), "v2") == "systemd"
    assert detect.naming(Settings(), "hybrid") == "cgroupfs"
    assert detect.naming(Settings(driver="cgroupfs"), "v2") == "cgroupfs"
    monkeypatch.setattr(detect, "_SYSTEMD_RUNS", tmp_path / "missing")
    assert detect.naming(Settings(), "v2") == "cgroupfs"
    assert detect.naming(Settings(driver="systemd"), "v1") == "systemd"
