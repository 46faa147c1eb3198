"""runtime.v1.RuntimeService, the lists in pieces: StreamPodSandboxes and StreamContainers.

What is streamed is what there was when the call came; an item is rendered when its turn comes, from its record.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from podwright.backend.base import Backend
from podwright.cri import filters, render
from podwright.cri.chunks import chunks
from podwright.criapi import api_pb2 as pb


class ListService:
    """One method an RPC, by the RPC's name."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def StreamPodSandboxes(
        self, request: pb.StreamPodSandboxesRequest
    ) -> AsyncIterator[pb.StreamPodSandboxesResponse]:
        found = list(filters.sandboxes(self._backend.sandboxes(), request.filter))
        for chunk in chunks(map(render.sandbox_item, found)):
            yield pb.StreamPodSandboxesResponse(pod_sandboxes=chunk)

    async def StreamContainers(self, request: pb.StreamContainersRequest) -> AsyncIterator[pb.StreamContainersResponse]:
        found = list(filters.containers(self._backend.containers(), request.filter))
        for chunk in chunks(map(render.container_item, found)):
            yield pb.StreamContainersResponse(containers=chunk)
