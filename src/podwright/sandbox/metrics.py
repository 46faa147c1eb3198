"""What the metrics of ready pods are made of: their network interfaces, and their containers' metrics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

from podwright.container.metrics import ContainerMetrics, KernelMetrics, MetricsReader
from podwright.container.model import Container, Containers
from podwright.network.counters import InterfaceCounters, read_counters
from podwright.network.namespaces import in_own_thread
from podwright.sandbox.collaborators import PodParts
from podwright.sandbox.model import Sandbox


@dataclass(frozen=True)
class PodMetrics:
    """One reading. `cgroup` is the kernel's path. `network` is empty for a pod on the host's network."""

    sandbox: Sandbox
    cgroup: str
    network: Sequence[InterfaceCounters]
    containers: Sequence[ContainerMetrics]


class PodMetricsReader:
    """Reads metrics; `metrics` reads those of containers."""

    def __init__(self, on: PodParts, containers: Containers, metrics: MetricsReader) -> None:
        self._on, self._containers, self._metrics = on, containers, metrics

    async def read(self, sandboxes: Iterable[Sandbox]) -> list[PodMetrics]:
        """Those of the pods that are ready, in order. One that is stopped while it is read is left out."""
        ready = [sandbox for sandbox in sandboxes if sandbox.ready]
        if not ready:
            return []
        running = [[c for c in self._containers.of_sandbox(sandbox.id) if c.running] for sandbox in ready]
        await self._metrics.prepare(list(chain.from_iterable(running)))
        readings = await in_own_thread(partial(self._read_all, ready, running), name="pod metrics")
        return [
            PodMetrics(
                sandbox, self._on.cgroups.kernel_path(sandbox.record.cgroup_parent), network,
                self._metrics.complete(containers, kernel),
            )
            for sandbox, containers, (network, kernel) in zip(ready, running, readings, strict=True)
            if sandbox.ready
        ]  # fmt: skip

    def _read_all(
        self, sandboxes: Sequence[Sandbox], running: Sequence[Sequence[Container]]
    ) -> list[tuple[Sequence[InterfaceCounters], Sequence[KernelMetrics | None]]]:
        """In a thread of its own, which goes from one pod's network namespace to the next."""
        return [
            (self._network(sandbox), self._metrics.read_kernel(containers))
            for sandbox, containers in zip(sandboxes, running, strict=True)
        ]

    def _network(self, sandbox: Sandbox) -> Sequence[InterfaceCounters]:
        if sandbox.host_network:
            return []
        return read_counters(self._on.layout.namespace(sandbox.id, "net")) or []
