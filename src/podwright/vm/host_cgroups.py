"""The cgroup of the host that a container's configuration names: a machine's programs, or a carrier, are in it.

Limits are not set there: those of a container hold inside the machine, and those of a pod are set by whoever made the
pod's cgroup, for the machine with all that it needs.
"""

from __future__ import annotations

from pathlib import Path

from podwright.base.errors import PodwrightError
from podwright.cgroup.base import Settings
from podwright.cgroup.detect import cgroup_driver, hierarchies
from podwright.cgroup.naming import kernel_path_of


def enter(cgroups_path: str, pid: int) -> list[str]:
    """Make the cgroup where it is missing, and move a process there; the directories that it is."""
    if not cgroups_path:
        return []
    path = kernel_path_of(cgroups_path)
    cgroup_driver(Settings(driver="cgroupfs")).create_parent(path)
    found = hierarchies()
    mounts = {*found.controllers.values(), *([found.unified] if found.unified else [])}
    directories = sorted(mount + path for mount in mounts)
    for directory in directories:
        Path(directory, "cgroup.procs").write_text(str(pid))
    return directories


def leave(directories: list[str]) -> None:
    """Remove a cgroup that is empty; one that is gone, or has others in it, is success."""
    for directory in directories:
        try:
            Path(directory).rmdir()
        except OSError:
            continue


def directories_of(cgroups_path: str) -> list[str]:
    """Where the cgroup would be; nothing for no path, or one that can't be."""
    if not cgroups_path:
        return []
    try:
        path = kernel_path_of(cgroups_path)
    except PodwrightError:
        return []
    found = hierarchies()
    return sorted(mount + path for mount in {*found.controllers.values(), *([found.unified] if found.unified else [])})
