"""Resource usage of ready pods: the pod's cgroup, its processes, its network interfaces, and its containers.

All that the kernel has to be asked is asked in one thread, which goes from one pod's network namespace to the next.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

from podwright.cgroup.base import CgroupStats, CpuStats
from podwright.cgroup.rates import CpuRates
from podwright.cgroup.totals import total
from podwright.container.model import Container, Containers
from podwright.container.stats import ContainerStats, StatsReader
from podwright.network.counters import InterfaceCounters, read_counters
from podwright.network.namespaces import in_own_thread
from podwright.sandbox.collaborators import PodParts
from podwright.sandbox.model import Sandbox


@dataclass(frozen=True)
class PodStats:
    """One reading. `nano_cores` as in `ContainerStats`.

    `network` is None for a pod on the host's network, whose traffic is the host's.
    """

    sandbox: Sandbox
    cgroup: CgroupStats
    nano_cores: int | None
    processes: int
    network: Sequence[InterfaceCounters] | None
    containers: Sequence[ContainerStats]


@dataclass(frozen=True)
class _Reading:
    """What the kernel said of one pod. `own` is None where the cgroup is not the pod's alone, or not there yet."""

    own: CgroupStats | None
    containers: Sequence[CgroupStats | None]
    processes: int
    network: Sequence[InterfaceCounters] | None


class PodStatsReader:
    """Reads statistics, and remembers what rates need. `stats` reads those of containers."""

    def __init__(self, on: PodParts, containers: Containers, stats: StatsReader) -> None:
        self._on, self._containers, self._stats = on, containers, stats
        self._rates = CpuRates()

    async def read(self, sandboxes: Iterable[Sandbox]) -> list[PodStats]:
        """Those of the pods that are ready, in order. One that is stopped while it is read is left out."""
        ready = [sandbox for sandbox in sandboxes if sandbox.ready]
        if not ready:
            return []
        running = [[c for c in self._containers.of_sandbox(sandbox.id) if c.running] for sandbox in ready]
        await self._stats.look(chain.from_iterable(running))
        work = partial(self._read_all, ready, running, self._shared_parents())
        readings = await in_own_thread(work, name="pod stats")
        return [
            self._complete(sandbox, containers, reading)
            for sandbox, containers, reading in zip(ready, running, readings, strict=True)
            if sandbox.ready
        ]

    def _shared_parents(self) -> frozenset[str]:
        """Cgroups that several pods were put into; the kubelet gives each its own, other clients may not."""
        users = Counter(sandbox.record.cgroup_parent for sandbox in self._on.sandboxes if sandbox.ready)
        return frozenset(parent for parent, count in users.items() if count > 1)

    def _read_all(
        self, sandboxes: Sequence[Sandbox], running: Sequence[Sequence[Container]], shared: frozenset[str]
    ) -> list[_Reading]:
        """In a thread of its own."""
        return [
            self._read_one(sandbox, containers, shared) for sandbox, containers in zip(sandboxes, running, strict=True)
        ]

    def _read_one(self, sandbox: Sandbox, containers: Sequence[Container], shared: frozenset[str]) -> _Reading:
        cgroups, record = self._on.cgroups, sandbox.record
        parent = cgroups.kernel_path(record.cgroup_parent)
        alone = record.cgroup_parent not in shared
        members = [parent] if alone else [container.record.cgroup for container in containers]
        of_containers = self._stats.read_cgroups(containers)  # first, so that the pod's is never less than theirs
        return _Reading(
            own=cgroups.stats(parent) if alone else None,
            containers=of_containers,
            processes=sum(len(cgroups.processes(path)) for path in members),
            network=None if sandbox.host_network else read_counters(self._on.layout.namespace(sandbox.id, "net")),
        )

    def _complete(self, sandbox: Sandbox, containers: Sequence[Container], reading: _Reading) -> PodStats:
        usage = reading.own or total([part for part in reading.containers if part], time.time_ns())
        cpu = usage.cpu or CpuStats()
        return PodStats(
            sandbox=sandbox,
            cgroup=usage,
            nano_cores=self._rates.rate(sandbox.id, usage.timestamp_ns, cpu.usage_ns),
            processes=reading.processes,
            network=reading.network,
            containers=self._stats.complete(containers, reading.containers),
        )

    def forget(self, sandbox_id: str) -> None:
        self._rates.forget(sandbox_id)
