"""runtime.v1.RuntimeService, the statistics: of containers and of pods, one, all that match, and in pieces.

They are read a few dozen at a time, so that a list of any length lets other calls have their turn.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from podwright.backend.base import Backend
from podwright.base.errors import NotFound
from podwright.cri import filters, render_stats
from podwright.cri.chunks import batches, chunks
from podwright.cri.validate import required
from podwright.criapi import api_pb2 as pb


class StatsService:
    """One method an RPC, by the RPC's name."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def ContainerStats(self, request: pb.ContainerStatsRequest) -> pb.ContainerStatsResponse:
        container = self._backend.container(required(request.container_id, "container_id"))
        for stats in await self._backend.container_stats([container]):
            return pb.ContainerStatsResponse(stats=render_stats.container_stats(stats))
        raise NotFound(f"container {container.id[:13]} does not run: it has no statistics")

    async def ListContainerStats(self, request: pb.ListContainerStatsRequest) -> pb.ListContainerStatsResponse:
        return pb.ListContainerStatsResponse(
            stats=[stats async for batch in self._containers(request.filter) for stats in batch]
        )

    async def StreamContainerStats(
        self, request: pb.StreamContainerStatsRequest
    ) -> AsyncIterator[pb.StreamContainerStatsResponse]:
        async for batch in self._containers(request.filter):
            for chunk in chunks(batch):
                yield pb.StreamContainerStatsResponse(container_stats=chunk)

    async def _containers(self, wanted: pb.ContainerStatsFilter) -> AsyncIterator[list[pb.ContainerStats]]:
        for batch in batches(list(filters.stats(self._backend.containers(), wanted))):
            yield [render_stats.container_stats(stats) for stats in await self._backend.container_stats(batch)]

    async def PodSandboxStats(self, request: pb.PodSandboxStatsRequest) -> pb.PodSandboxStatsResponse:
        sandbox = self._backend.sandbox(required(request.pod_sandbox_id, "pod_sandbox_id"))
        for stats in await self._backend.pod_stats([sandbox]):
            return pb.PodSandboxStatsResponse(stats=render_stats.pod_stats(stats))
        raise NotFound(f"pod sandbox {sandbox.id[:13]} is not ready: it has no statistics")

    async def ListPodSandboxStats(self, request: pb.ListPodSandboxStatsRequest) -> pb.ListPodSandboxStatsResponse:
        return pb.ListPodSandboxStatsResponse(
            stats=[stats async for batch in self._pods(request.filter) for stats in batch]
        )

    async def StreamPodSandboxStats(
        self, request: pb.StreamPodSandboxStatsRequest
    ) -> AsyncIterator[pb.StreamPodSandboxStatsResponse]:
        async for batch in self._pods(request.filter):
            for chunk in chunks(batch):
                yield pb.StreamPodSandboxStatsResponse(pod_sandbox_stats=chunk)

    async def _pods(self, wanted: pb.PodSandboxStatsFilter) -> AsyncIterator[list[pb.PodSandboxStats]]:
        for batch in batches(list(filters.pod_stats(self._backend.sandboxes(), wanted))):
            yield [render_stats.pod_stats(stats) for stats in await self._backend.pod_stats(batch)]
