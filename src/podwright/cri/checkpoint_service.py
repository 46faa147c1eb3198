"""runtime.v1.RuntimeService: checkpoints of containers and pods, and pods from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from podwright.backend.base import Backend
from podwright.base.errors import InvalidArgument
from podwright.cri import validate
from podwright.cri.validate import required
from podwright.criapi import api_pb2 as pb


class CheckpointService:
    """One method an RPC, by the RPC's name."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def CheckpointContainer(self, request: pb.CheckpointContainerRequest) -> pb.CheckpointContainerResponse:
        container_id = required(request.container_id, "container_id")
        location = required(request.location, "location")
        await self._backend.checkpoint_container(container_id, location, validate.timeout(request.timeout))
        return pb.CheckpointContainerResponse()

    async def CheckpointPod(self, request: pb.CheckpointPodRequest) -> pb.CheckpointPodResponse:
        sandbox_id = required(request.pod_sandbox_id, "pod_sandbox_id")
        output_path = required(request.output_path, "output_path")
        _no_options(request.options)
        if not request.container_ids:
            raise InvalidArgument("must name the running containers of the pod", field="container_ids")
        for at, container_id in enumerate(request.container_ids):
            required(container_id, f"container_ids[{at}]")
        await self._backend.checkpoint_sandbox(sandbox_id, list(request.container_ids), output_path)
        return pb.CheckpointPodResponse()

    async def RestorePod(self, request: pb.RestorePodRequest) -> pb.RestorePodResponse:
        path = required(request.checkpoint_path, "checkpoint_path")
        _no_options(request.options)
        validate.pod_config(request.config)
        _container_configs(request.container_configs)
        sandbox, containers = await self._backend.restore_sandbox(
            path, request.config, request.runtime_handler, list(request.container_configs)
        )
        return pb.RestorePodResponse(
            pod_sandbox_id=sandbox.id,
            restored_containers=[
                pb.RestoredContainer(name=container.config.metadata.name, container_id=container.id)
                for container in containers
            ],
        )


def _container_configs(configs: Sequence[pb.ContainerConfig]) -> None:
    names: set[str] = set()
    for at, config in enumerate(configs):
        validate.container_config(config)
        if config.metadata.name in names:
            raise InvalidArgument(f"{config.metadata.name} is given twice", field=f"container_configs[{at}]")
        names.add(config.metadata.name)
    if not names:
        raise InvalidArgument("must have one for each container of the checkpoint", field="container_configs")


def _no_options(options: Mapping[str, str]) -> None:
    """There are none yet, and one that is not understood must not be taken for one that is obeyed."""
    if options:
        raise InvalidArgument(f"{min(options)!r} is not an option that is known here", field="options")
