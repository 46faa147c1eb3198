"""Resource usage of running containers: cgroup counters read when asked, disk usage cached.

The kubelet polls every 10 s, and counting a writable layer's files is the dear part: it happens in a thread, at
most once in `stats_disk_interval_s` a container, and a poll never waits for it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from podwright.base.errors import NotFound
from podwright.base.log import get_logger
from podwright.base.tasks import Tasks, in_thread
from podwright.cgroup.base import CgroupStats
from podwright.container.collaborators import Collaborators
from podwright.container.model import Container

log = get_logger(__name__)


@dataclass(frozen=True)
class ContainerStats:
    """One reading. `nano_cores`: CPU use since the previous reading in billionths of a core; None at the first."""

    timestamp_ns: int
    cgroup: CgroupStats
    nano_cores: int | None
    mountpoint: str
    disk_timestamp_ns: int
    disk_bytes: int
    disk_inodes: int


@dataclass
class _Remembered:
    cpu_at_ns: int = 0
    cpu_usage_ns: int = 0
    disk_at: float = float("-inf")
    disk_timestamp_ns: int = 0
    disk_bytes: int = 0
    disk_inodes: int = 0


class StatsReader:
    """Reads statistics, and remembers what rates and disk usage need."""

    def __init__(self, on: Collaborators, tasks: Tasks) -> None:
        self._on, self._tasks = on, tasks
        self._remembered: dict[str, _Remembered] = {}

    async def read(self, container: Container) -> ContainerStats | None:
        """None for a container that does not run, or ends while it is read."""
        if not container.running:
            return None
        usage = self._on.cgroups.stats(container.record.cgroup)
        if usage is None:
            return None
        now = usage.timestamp_ns
        cpu_ns = usage.cpu.usage_ns if usage.cpu else 0
        past = self._remembered.setdefault(container.id, _Remembered())
        elapsed = now - past.cpu_at_ns
        rate = (cpu_ns - past.cpu_usage_ns) * 1_000_000_000 // elapsed if past.cpu_at_ns else None
        past.cpu_at_ns, past.cpu_usage_ns = now, cpu_ns
        self._refresh_disk(container, past)
        return ContainerStats(
            timestamp_ns=now, cgroup=usage, nano_cores=None if rate is None else max(0, rate),
            mountpoint=str(self._on.layout.snapshots), disk_timestamp_ns=past.disk_timestamp_ns or now,
            disk_bytes=past.disk_bytes, disk_inodes=past.disk_inodes,
        )  # fmt: skip

    def _refresh_disk(self, container: Container, past: _Remembered) -> None:
        if time.monotonic() - past.disk_at < self._on.settings.stats_disk_interval_s:
            return
        past.disk_at = time.monotonic()
        self._tasks.start(self._count(container, past), name=f"disk usage {container.id[:13]}")

    async def _count(self, container: Container, past: _Remembered) -> None:
        try:
            usage = await in_thread(self._on.snapshots.usage, container.id)
        except (NotFound, FileNotFoundError):
            return  # removed meanwhile
        past.disk_timestamp_ns = time.time_ns()
        past.disk_bytes, past.disk_inodes = usage.bytes, usage.inodes

    def forget(self, container_id: str) -> None:
        self._remembered.pop(container_id, None)
