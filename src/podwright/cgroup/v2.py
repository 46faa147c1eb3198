"""cgroup v2: one hierarchy, controllers enabled level by level. `driver.py` calls it.

kernel: Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from podwright.base.errors import InvalidArgument
from podwright.cgroup import details, files
from podwright.cgroup.base import CgroupStats, CpuStats, Limits, MemoryStats, SwapStats
from podwright.cgroup.details import CgroupDetails
from podwright.cgroup.pressure import read_pressure
from podwright.cgroup.signals import kill_members
from podwright.oci.runtime_spec import Cpu, LinuxResources, Memory

_MICROSECOND_NS = 1000


class CgroupV2:
    """`mount`: where the hierarchy is mounted."""

    def __init__(self, mount: str) -> None:
        self._mount = mount

    def directories(self, path: str) -> list[str]:
        return [self._mount + path]

    def limiting_directory(self, path: str) -> str:
        return self._mount + path

    def prepare(self, directory: str) -> None:
        """Hand the parent's controllers down: a cgroup has those that its parent's subtree_control names."""
        parent = Path(directory).parent
        offered = (files.read(f"{parent}/cgroup.controllers") or b"").split()
        enabled = (files.read(f"{parent}/cgroup.subtree_control") or b"").split()
        wanted = [f"+{name.decode()}" for name in offered if name not in enabled]
        if not wanted:
            return
        try:
            files.write(f"{parent}/cgroup.subtree_control", " ".join(wanted))
        except InvalidArgument:
            # One controller that can't be enabled (cpu, while realtime processes run) must not keep the others.
            for word in wanted:
                try:
                    files.write(f"{parent}/cgroup.subtree_control", word)
                except InvalidArgument:
                    continue

    def set_limits(self, path: str, limits: Limits) -> None:
        directory = self._mount + path
        wanted = {
            "cpu.weight": None if limits.cpu_shares is None else str(weight_of(limits.cpu_shares)),
            "cpu.max": _cpu_max(limits, files.read(f"{directory}/cpu.max") or b"max 100000"),
            "memory.max": _or_max(limits.memory_bytes),
            "pids.max": _or_max(limits.pids),
            **{f"hugetlb.{size}.max": str(limit) for size, limit in limits.hugepages.items()},
        }
        for name, value in wanted.items():
            if value is None:
                continue
            try:
                files.write(f"{directory}/{name}", value)
            except FileNotFoundError:
                raise InvalidArgument(f"{name} can't be set: its controller is not enabled in {directory}") from None

    def limits_hugepages(self) -> bool:
        return b"hugetlb" in (files.read(f"{self._mount}/cgroup.controllers") or b"").split()

    def limits_swap(self) -> bool:
        """The root has no such file, so a cgroup below it tells; where none has the memory controller yet: yes."""
        below = [directory for directory in Path(self._mount).glob("*/") if (directory / "memory.max").exists()]
        return not below or any((directory / "memory.swap.max").exists() for directory in below)

    def file(self, path: str, name: str) -> str:
        return f"{self._mount}{path}/{name}"

    def written_by(self, resources: LinuxResources) -> list[str]:
        names = [f"hugetlb.{limit.page_size}.max" for limit in resources.hugepage_limits]
        if resources.memory is not None:
            names += ["memory.max", "memory.swap.max"]
        if (cpu := resources.cpu) is not None:
            names += ["cpu.weight"] if cpu.shares is not None else []
            names += ["cpu.max"] if cpu.quota is not None or cpu.period is not None else []
            names += [name for name, value in (("cpuset.cpus", cpu.cpus), ("cpuset.mems", cpu.mems)) if value]
        return [*names, *(name for name in resources.unified if name not in names)]

    def as_resources(self, saved: Mapping[str, str]) -> LinuxResources:
        cpu = Cpu(cpus=saved.get("cpuset.cpus", ""), mems=saved.get("cpuset.mems", ""))
        if weight := saved.get("cpu.weight"):
            cpu.shares = shares_of(int(weight))
        if bandwidth := saved.get("cpu.max"):
            quota, period = bandwidth.split()
            cpu.quota, cpu.period = _or_unlimited(quota), int(period)
        memory = _or_unlimited(saved["memory.max"]) if "memory.max" in saved else None
        swap = _or_unlimited(saved.get("memory.swap.max", "max"))
        with_swap = -1 if memory is None or -1 in (memory, swap) else memory + swap
        return LinuxResources(
            cpu=None if cpu == Cpu() else cpu, memory=None if memory is None else Memory(limit=memory, swap=with_swap)
        )

    def processes(self, path: str) -> list[int]:
        return [pid for directory in files.below(self._mount + path) for pid in files.read_pids(directory)]

    def kill(self, path: str) -> None:
        """cgroup.kill takes all below it, forks in flight and frozen processes as well; since Linux 5.14."""
        try:
            files.write(f"{self._mount}{path}/cgroup.kill", "1")
        except FileNotFoundError:
            self.set_frozen(path, frozen=True)
            kill_members(lambda: self.processes(path))  # in v2 a frozen process can die
            self.set_frozen(path, frozen=False)

    def set_frozen(self, path: str, *, frozen: bool) -> None:
        try:
            files.write(f"{self._mount}{path}/cgroup.freeze", "1" if frozen else "0")
        except FileNotFoundError:
            return

    def oom_kills(self, path: str) -> int | None:
        table = files.read_table(f"{self._mount}{path}/memory.events")
        return None if table is None else table.get(b"oom_kill", 0)

    def details(self, path: str) -> CgroupDetails:
        return details.v2(partial(self.file, path))

    def stats(self, path: str) -> CgroupStats | None:
        """10 files."""
        directory = self._mount + path
        if not os.access(directory, os.F_OK):
            return None
        io = read_pressure(f"{directory}/io.pressure")
        return CgroupStats(time.time_ns(), _cpu(directory), _memory(directory), io)


def weight_of(shares: int) -> int:
    """cpu.shares 2 to 262144 onto cpu.weight 1 to 10000, as the OCI runtimes do."""
    return 1 + (min(max(shares, 2), 262144) - 2) * 9999 // 262142


def shares_of(weight: int) -> int:
    """The least cpu.shares that `weight_of` makes `weight` of."""
    return 2 + -(-(weight - 1) * 262142 // 9999)


def _or_unlimited(value: str) -> int:
    return -1 if value == "max" else int(value)


def _or_max(value: int | None) -> str | None:
    if value is None:
        return None
    return str(value) if value > 0 else "max"


def _cpu_max(limits: Limits, current: bytes) -> str | None:
    if limits.cpu_quota_us is None and limits.cpu_period_us is None:
        return None
    quota, period = current.decode().split()
    if limits.cpu_quota_us is not None:
        quota = str(limits.cpu_quota_us) if limits.cpu_quota_us > 0 else "max"
    return f"{quota} {limits.cpu_period_us or period}"


def _cpu(directory: str) -> CpuStats | None:
    table = files.read_table(f"{directory}/cpu.stat")
    if table is None:
        return None
    return CpuStats(table.get(b"usage_usec", 0) * _MICROSECOND_NS, read_pressure(f"{directory}/cpu.pressure"))


def _memory(directory: str) -> MemoryStats | None:
    usage, table = files.read_number(f"{directory}/memory.current"), files.read_table(f"{directory}/memory.stat")
    if usage is None or table is None:
        return None
    return MemoryStats(
        usage_bytes=usage,
        working_set_bytes=max(0, usage - table.get(b"inactive_file", 0)),
        rss_bytes=table.get(b"anon", 0),
        cache_bytes=table.get(b"file", 0),
        mapped_file_bytes=table.get(b"file_mapped", 0),
        page_faults=table.get(b"pgfault", 0),
        major_page_faults=table.get(b"pgmajfault", 0),
        limit_bytes=files.read_limit(f"{directory}/memory.max"),
        swap=_swap(directory),
        pressure=read_pressure(f"{directory}/memory.pressure"),
    )


def _swap(directory: str) -> SwapStats | None:
    usage = files.read_number(f"{directory}/memory.swap.current")
    return None if usage is None else SwapStats(usage, files.read_bound(f"{directory}/memory.swap.max"))
