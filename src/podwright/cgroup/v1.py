"""cgroup v1, also where an empty v2 hierarchy is mounted beside it (hybrid): one hierarchy a controller or several.

`driver.py` calls it. kernel: Documentation/admin-guide/cgroup-v1.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from podwright.base.errors import InvalidArgument
from podwright.cgroup import details, files
from podwright.cgroup.base import CgroupStats, CpuStats, Limits, MemoryStats, PressureStats, SwapStats
from podwright.cgroup.details import CgroupDetails
from podwright.cgroup.pressure import is_populated, read_pressure
from podwright.cgroup.signals import kill_members
from podwright.oci.runtime_spec import LinuxResources

# Any hierarchy lists a container's processes; these are the ones an OCI runtime never leaves out.
_MEMBERSHIP = ("freezer", "pids", "devices", "memory", "cpu")
_LIMITING = ("memory", "cpu")


class CgroupV1:
    """`mounts`: controller (`cpu`, `name=systemd`, …) → mount point. `unified`: the v2 hierarchy's, or ''."""

    def __init__(self, mounts: Mapping[str, str], unified: str = "") -> None:
        self._mounts = dict(mounts)
        self._unified = unified
        self._hierarchies = sorted({*mounts.values(), *([unified] if unified else [])})
        self._membership = next(mounts[name] for name in (*_MEMBERSHIP, *sorted(mounts)) if name in mounts)

    def _at(self, controller: str, path: str) -> str:
        return self._mounts.get(controller, "/nonexistent") + path

    def directories(self, path: str) -> list[str]:
        return [hierarchy + path for hierarchy in self._hierarchies]

    def limiting_directory(self, path: str) -> str:
        return next((self._mounts[name] for name in _LIMITING if name in self._mounts), self._hierarchies[0]) + path

    def prepare(self, directory: str) -> None:
        """A new cpuset is empty and takes no process until it has CPUs and memory nodes. cpuset(7)."""
        if not directory.startswith(self._mounts.get("cpuset", "/nonexistent") + "/"):
            return
        parent = Path(directory).parent
        for name in ("cpuset.cpus", "cpuset.mems"):
            if not (files.read(f"{directory}/{name}") or b"").strip():
                files.write(f"{directory}/{name}", (files.read(f"{parent}/{name}") or b"").decode())

    def set_limits(self, path: str, limits: Limits) -> None:
        wanted = (
            ("cpu", "cpu.shares", limits.cpu_shares),
            ("cpu", "cpu.cfs_period_us", limits.cpu_period_us),
            ("cpu", "cpu.cfs_quota_us", limits.cpu_quota_us),
            ("memory", "memory.limit_in_bytes", limits.memory_bytes),
            ("pids", "pids.max", "max" if limits.pids is not None and limits.pids <= 0 else limits.pids),
            *(("hugetlb", f"hugetlb.{size}.limit_in_bytes", limit) for size, limit in limits.hugepages.items()),
        )
        for controller, name, value in wanted:
            if value is None:
                continue
            if controller not in self._mounts:
                raise InvalidArgument(f"{name} can't be set: this kernel has no cgroup controller {controller!r}")
            try:
                files.write(self.file(path, name), str(value))
            except FileNotFoundError:
                raise InvalidArgument(f"{name} can't be set: {self._at(controller, path)} has no such file") from None

    def limits_hugepages(self) -> bool:
        return "hugetlb" in self._mounts

    def limits_swap(self) -> bool:
        return os.access(self.file("", "memory.memsw.limit_in_bytes"), os.F_OK)

    def file(self, path: str, name: str) -> str:
        """A file's name begins with its controller's."""
        return f"{self._at(name.partition('.')[0], path)}/{name}"

    def written_by(self, resources: LinuxResources) -> list[str]:
        names = [f"hugetlb.{limit.page_size}.limit_in_bytes" for limit in resources.hugepage_limits]
        if resources.memory is not None:
            names += ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]
        if (cpu := resources.cpu) is not None:
            bandwidth = cpu.quota is not None or cpu.period is not None
            names += ["cpu.shares"] if cpu.shares is not None else []
            names += ["cpu.cfs_period_us", "cpu.cfs_quota_us"] if bandwidth else []
            names += [name for name, value in (("cpuset.cpus", cpu.cpus), ("cpuset.mems", cpu.mems)) if value]
        return names

    def as_resources(self, saved: Mapping[str, str]) -> LinuxResources:
        """Nothing: systemd leaves v1's files alone when it reloads."""
        return LinuxResources()

    def processes(self, path: str) -> list[int]:
        return [pid for directory in files.below(self._membership + path) for pid in files.read_pids(directory)]

    def kill(self, path: str) -> None:
        """One by one, while the freezer holds them so that none forks away; a lone process needs no freezing."""

        def members() -> list[int]:
            return self.processes(path)

        if len(members()) <= 1 and not self._frozen(path):
            kill_members(members)
            return
        self.set_frozen(path, frozen=True)
        try:
            kill_members(members)
        finally:
            # A frozen process can't die: it takes the signal when it is let go.
            for directory in reversed(files.below(self._at("freezer", path))):
                _set_frozen(directory, frozen=False)

    def _frozen(self, path: str) -> bool:
        return (files.read(self._at("freezer", path) + "/freezer.state") or b"THAWED").strip() != b"THAWED"

    def set_frozen(self, path: str, *, frozen: bool) -> None:
        """The freezer's state holds for the children too."""
        _set_frozen(self._at("freezer", path), frozen=frozen)

    def oom_kills(self, path: str) -> int | None:
        table = files.read_table(self._at("memory", path) + "/memory.oom_control")
        return None if table is None else table.get(b"oom_kill", 0)

    def details(self, path: str) -> CgroupDetails:
        return details.v1(partial(self.file, path))

    def stats(self, path: str) -> CgroupStats | None:
        """5 files, 9 where there is a v2 hierarchy to ask for pressure."""
        if not os.access(self._membership + path, os.F_OK):
            return None
        # A runtime may leave the container out of the v2 hierarchy: then its pressure is unknown, not 0.
        stalls = self._unified + path if self._unified and is_populated(self._unified + path) else ""
        cpu_ns = files.read_number(self.file(path, "cpuacct.usage"))
        return CgroupStats(
            time.time_ns(),
            None if cpu_ns is None else CpuStats(cpu_ns, _stalled(stalls, "cpu")),
            self._memory(path, _stalled(stalls, "memory")),
            _stalled(stalls, "io"),
        )

    def _memory(self, path: str, pressure: PressureStats | None) -> MemoryStats | None:
        directory = self._at("memory", path)
        usage = files.read_number(f"{directory}/memory.usage_in_bytes")
        table = files.read_table(f"{directory}/memory.stat")
        if usage is None or table is None:
            return None
        limit = files.read_limit(f"{directory}/memory.limit_in_bytes")
        return MemoryStats(
            usage_bytes=usage,
            working_set_bytes=max(0, usage - table.get(b"total_inactive_file", 0)),
            rss_bytes=table.get(b"total_rss", 0),
            cache_bytes=table.get(b"total_cache", 0),
            mapped_file_bytes=table.get(b"total_mapped_file", 0),
            page_faults=table.get(b"total_pgfault", 0),
            major_page_faults=table.get(b"total_pgmajfault", 0),
            limit_bytes=limit,
            swap=_swap(directory, table.get(b"total_swap"), limit),
            pressure=pressure,
        )


def _stalled(directory: str, resource: str) -> PressureStats | None:
    return read_pressure(f"{directory}/{resource}.pressure") if directory else None


def _swap(directory: str, usage: int | None, memory_limit: int) -> SwapStats | None:
    """v1 limits memory and swap together; what may be swapped is the difference. None without swap accounting."""
    if usage is None:
        return None
    with_swap = files.read_bound(f"{directory}/memory.memsw.limit_in_bytes")
    return SwapStats(usage, None if with_swap is None else max(0, with_swap - memory_limit))


def _set_frozen(directory: str, *, frozen: bool) -> None:
    try:
        files.write(f"{directory}/freezer.state", "FROZEN" if frozen else "THAWED")
    except FileNotFoundError:
        return
