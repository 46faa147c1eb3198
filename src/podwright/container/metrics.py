"""What the metrics of running containers are made of: all that statistics tell, and what the kernel tells at length.

Dearer than statistics, and asked for by monitoring alone, some times a minute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from podwright.cgroup.base import CgroupDriver, CgroupStats, CpuStats, MemoryStats
from podwright.cgroup.details import CgroupDetails, LimitsInForce
from podwright.container.disk import DiskUsage
from podwright.container.model import Container
from podwright.container.stats import StatsReader
from podwright.linux.filesystem import FileSystem, device_name, file_system
from podwright.linux.open_files import OpenFiles, open_files, open_files_limit, threads

_FIRST_COUNT_WAIT_S = 0.5


@dataclass(frozen=True)
class KernelMetrics:
    """What the kernel said of one container. `open_files_limit` is the first process's.

    `devices` names those of `details.io`, by major and minor number.
    """

    cgroup: CgroupStats
    details: CgroupDetails
    processes: int
    threads: int
    open_files: OpenFiles
    open_files_limit: int | None
    file_system: FileSystem
    devices: Mapping[tuple[int, int], str] = field(default_factory=dict)


@dataclass(frozen=True)
class ContainerMetrics:
    """One reading. `disk` as in `ContainerStats`."""

    container: Container
    kernel: KernelMetrics
    disk: DiskUsage | None

    @property
    def cpu(self) -> CpuStats | None:
        return self.kernel.cgroup.cpu

    @property
    def memory(self) -> MemoryStats | None:
        return self.kernel.cgroup.memory


class MetricsReader:
    """Reads metrics. Disk usage is that of `stats`, which remembers it."""

    def __init__(self, cgroups: CgroupDriver, stats: StatsReader) -> None:
        self._cgroups, self._stats = cgroups, stats

    def read_kernel(self, containers: Sequence[Container]) -> list[KernelMetrics | None]:
        """For a thread. None for a container that has no cgroup any more."""
        system = file_system(self._stats.mountpoint)
        return [self._read_one(container, system) for container in containers]

    def _read_one(self, container: Container, system: FileSystem) -> KernelMetrics | None:
        path = container.record.cgroup
        usage = self._cgroups.stats(path)
        if usage is None:
            return None
        pids = self._cgroups.processes(path)
        details = self._cgroups.details(path)
        return KernelMetrics(
            cgroup=usage,
            details=details,
            processes=len(pids),
            threads=details.tasks.current if details.tasks else threads(pids),
            open_files=open_files(pids),
            open_files_limit=open_files_limit(container.record.pid) if container.record.pid in pids else None,
            file_system=system,
            devices={(io.major, io.minor): device_name(io.major, io.minor) for io in details.io},
        )

    async def prepare(self, containers: Sequence[Container]) -> None:
        """Before `complete`: ask for what no cgroup tells, and count the disks of new containers. Both are waited for,
        a moment for all together, so that their metrics come whole."""
        await self._stats.look(containers)
        await self._stats.disk.count_new([each.id for each in containers], timeout_s=_FIRST_COUNT_WAIT_S)

    def complete(
        self, containers: Sequence[Container], readings: Sequence[KernelMetrics | None]
    ) -> list[ContainerMetrics]:
        """With the disk usage; without what has ended meanwhile."""
        return [
            ContainerMetrics(container, self._of_its_kernel(container, reading), self._stats.disk.latest(container.id))
            for container, reading in zip(containers, readings, strict=True)
            if reading is not None and container.running
        ]

    def _of_its_kernel(self, container: Container, reading: KernelMetrics) -> KernelMetrics:
        """With a kernel of its own, the container's processes and limits are not in the host's cgroups."""
        told = self._stats.told_elsewhere(container)
        if told is None:
            return reading
        wanted = container.resources
        limits = LimitsInForce(
            cpu_shares=wanted.cpu_shares, cpu_period_us=wanted.cpu_period, cpu_quota_us=max(wanted.cpu_quota, 0),
            memory_bytes=wanted.memory_limit_in_bytes,
        )  # fmt: skip
        return replace(reading, cgroup=told.stats, details=replace(reading.details, limits=limits, cpu=told.cpu))
