"""runtime.v1.RuntimeService, metrics for monitoring: descriptors, and the samples of all ready pods."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from podwright.backend.base import Backend
from podwright.cri import metrics
from podwright.cri.chunks import batches, chunks
from podwright.criapi import api_pb2 as pb


class MetricsService:
    """One method an RPC, by the RPC's name."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def ListMetricDescriptors(self, _: pb.ListMetricDescriptorsRequest) -> pb.ListMetricDescriptorsResponse:
        return pb.ListMetricDescriptorsResponse(descriptors=metrics.descriptors())

    async def ListPodSandboxMetrics(self, _: pb.ListPodSandboxMetricsRequest) -> pb.ListPodSandboxMetricsResponse:
        return pb.ListPodSandboxMetricsResponse(pod_metrics=[pod async for batch in self._pods() for pod in batch])

    async def StreamPodSandboxMetrics(
        self, _: pb.StreamPodSandboxMetricsRequest
    ) -> AsyncIterator[pb.StreamPodSandboxMetricsResponse]:
        async for batch in self._pods():
            for chunk in chunks(batch):
                yield pb.StreamPodSandboxMetricsResponse(pod_sandbox_metrics=chunk)

    async def _pods(self) -> AsyncIterator[list[pb.PodSandboxMetrics]]:
        ready = [sandbox for sandbox in self._backend.sandboxes() if sandbox.ready]
        for batch in batches(ready):
            rendered = []
            for pod in await self._backend.pod_metrics(batch):
                rendered.append(metrics.pod_metrics(pod))
                await asyncio.sleep(0)  # a pod has some hundred samples: other calls have their turn
            yield rendered
