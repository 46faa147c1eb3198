"""Resource usage of running containers: cgroup counters read when asked, disk usage from memory (`disk`), and what
another kernel counts (`own_kernel`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from podwright.base.tasks import Tasks, in_thread
from podwright.cgroup.base import CgroupDriver, CgroupStats, CpuStats, MemoryStats
from podwright.cgroup.rates import CpuRates
from podwright.container.disk import DiskUsage, WritableLayers
from podwright.container.model import Container
from podwright.container.own_kernel import OwnKernelUsage, Told
from podwright.snapshot.base import Usage


@dataclass(frozen=True)
class ContainerStats:
    """One reading. `nano_cores`: CPU use of late in billionths of a core; None until there are two readings.

    `disk` is None until the writable layer, which is on the file system of `mountpoint`, was counted.
    """

    container: Container
    cgroup: CgroupStats
    nano_cores: int | None
    mountpoint: str
    disk: DiskUsage | None

    @property
    def cpu(self) -> CpuStats:
        return self.cgroup.cpu or CpuStats()

    @property
    def memory(self) -> MemoryStats:
        return self.cgroup.memory or MemoryStats()


class StatsReader:
    """Reads statistics, and remembers what rates and disk usage need."""

    def __init__(
        self, cgroups: CgroupDriver, count: Callable[[str], Usage], mountpoint: Callable[[], Path], tasks: Tasks, *,
        disk_interval_s: float, elsewhere: OwnKernelUsage | None = None,
    ) -> None:  # fmt: skip
        """`count` tells what the writable layer of a container takes, and may block; `mountpoint`: of their file
        system. `elsewhere`: of containers that another kernel counts, where there may be such."""
        self._cgroups, self._mountpoint = cgroups, mountpoint
        self._rates = CpuRates()
        self._elsewhere = elsewhere
        self.disk = WritableLayers(count, tasks, interval_s=disk_interval_s)

    @property
    def mountpoint(self) -> Path:
        """A path on the file system of the writable layers."""
        return self._mountpoint()

    async def read(self, containers: Iterable[Container]) -> list[ContainerStats]:
        """Those of the containers that run, in order. One that ends or goes while it is read is left out."""
        running = [container for container in containers if container.running]
        await self.look(running)
        usages = await in_thread(self.read_cgroups, running) if running else []
        return self.complete(running, usages)

    async def look(self, containers: Iterable[Container]) -> None:
        """Before `complete`: ask for what no cgroup tells."""
        if self._elsewhere is not None:
            await self._elsewhere.look(containers)

    def read_cgroups(self, containers: Sequence[Container]) -> list[CgroupStats | None]:
        """The counters alone: some 100 µs a container, so for a thread."""
        return [self._cgroups.stats(container.record.cgroup) for container in containers]

    def complete(self, containers: Sequence[Container], usages: Sequence[CgroupStats | None]) -> list[ContainerStats]:
        """Counters with what is remembered; those of containers that have ended meanwhile are no use to anybody."""
        return [
            self._complete(container, told.stats if (told := self.told_elsewhere(container)) else usage)
            for container, usage in zip(containers, usages, strict=True)
            if usage is not None and container.running
        ]

    def told_elsewhere(self, container: Container) -> Told | None:
        """After `look`: what a kernel of the container's own counts; None where that is the host's."""
        return None if self._elsewhere is None else self._elsewhere.latest(container.id)

    def _complete(self, container: Container, usage: CgroupStats) -> ContainerStats:
        rate = self._rates.rate(container.id, usage.timestamp_ns, usage.cpu.usage_ns) if usage.cpu else None
        return ContainerStats(container, usage, rate, str(self.mountpoint), self.disk.latest(container.id))

    def forget(self, container_id: str) -> None:
        self._rates.forget(container_id)
        self.disk.forget(container_id)
        if self._elsewhere is not None:
            self._elsewhere.forget(container_id)
