"""Which cgroups this kernel has mounted, and the driver that fits. Called once, by the daemon and `doctor`.

Three layouts are alive: v2 alone (unified), v1 alone, and hybrid: v1 hierarchies with the controllers, and a v2
hierarchy without any at /sys/fs/cgroup/unified, which systemd uses to keep track of processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from podwright.base.errors import FailedPrecondition
from podwright.cgroup.base import CgroupDriver, Kernel, Naming, Settings, Version
from podwright.cgroup.v1 import CgroupV1
from podwright.cgroup.v2 import CgroupV2
from podwright.linux.mounts import MountInfo, mountinfo

_CONTROLLERS = frozenset(
    {
        "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "net_cls", "net_prio",
        "perf_event", "hugetlb", "rdma", "misc",
    }
)  # fmt: skip
_SYSTEMD_RUNS = Path("/run/systemd/system")  # sd_booted(3)


@dataclass(frozen=True)
class Hierarchies:
    """What is mounted. `controllers`: mount point by v1 controller (or `name=systemd`); `unified`: v2's, or ''."""

    version: Version
    controllers: Mapping[str, str] = field(default_factory=dict)
    unified: str = ""


def hierarchies(mounts: Iterable[MountInfo] | None = None) -> Hierarchies:
    """What mountinfo says, the first mount of each hierarchy. Raises FailedPrecondition when no cgroup is mounted."""
    controllers: dict[str, str] = {}
    unified = ""
    for mount in mountinfo() if mounts is None else mounts:
        if mount.fstype == "cgroup2":
            unified = unified or mount.target
        elif mount.fstype == "cgroup":
            for option in mount.super_options:
                if option in _CONTROLLERS or option.startswith("name="):
                    controllers.setdefault(option, mount.target)
    if controllers.keys() & _CONTROLLERS:
        return Hierarchies("hybrid" if unified else "v1", controllers, unified)
    if unified:
        return Hierarchies("v2", {}, unified)
    raise FailedPrecondition("no cgroup file system is mounted: mount -t cgroup2 cgroup2 /sys/fs/cgroup")


def naming(settings: Settings, version: Version) -> Naming:
    """The driver to use, where the settings leave it open.

    Under systemd, v2 has a single-writer rule: who makes cgroups beside systemd loses controllers when it
    reloads. On v1 and hybrid systemd leaves other hierarchies alone, and the plain files are faster.
    """
    if settings.driver != "auto":
        return settings.driver
    return "systemd" if version == "v2" and _SYSTEMD_RUNS.is_dir() else "cgroupfs"


def cgroup_driver(settings: Settings) -> CgroupDriver:
    """The driver for this machine."""
    # Who only wants to know what is mounted need not wait for an event loop's import.
    from podwright.cgroup.driver import Cgroups

    found = hierarchies()
    kernel: Kernel = CgroupV2(found.unified) if found.version == "v2" else CgroupV1(found.controllers, found.unified)
    return Cgroups(
        kernel, version=found.version, naming=naming(settings, found.version), default_parent=settings.default_parent
    )
