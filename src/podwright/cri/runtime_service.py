"""runtime.v1.RuntimeService: each method validates, calls the backend, renders. RPCs that are absent here answer
UNIMPLEMENTED (`cri/server.py`)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from podwright import __version__
from podwright.backend.base import Backend
from podwright.base.errors import DeadlineExceeded
from podwright.cgroup.base import Naming
from podwright.cri import filters, render, validate
from podwright.cri.validate import required
from podwright.criapi import api_pb2 as pb
from podwright.network.base import NetworkStatus
from podwright.runtime.base import Features
from podwright.state.layout import Layout

KUBELET_API_VERSION = "0.1.0"
RUNTIME_NAME = "podwright"
"""The prefix of every container id in the Kubernetes API: never changes."""


class NodeStatus(Protocol):
    """What Status and RuntimeConfig tell about the node. Every method answers from memory or in microseconds."""

    async def network(self) -> NetworkStatus: ...

    async def runtime_problem(self) -> str: ...

    def handlers(self) -> dict[str, Features]: ...

    async def info(self) -> dict[str, str]: ...

    async def set_pod_cidrs(self, cidrs: Sequence[str]) -> None:
        """Raises InvalidArgument."""
        ...

    @property
    def cgroup_driver(self) -> Naming: ...

    @property
    def mount_options(self) -> bool:
        """Whether mounts take options."""
        ...


class RuntimeService:
    """One method an RPC, by the RPC's name."""

    def __init__(self, backend: Backend, node: NodeStatus, layout: Layout) -> None:
        self._backend, self._node, self._layout = backend, node, layout

    async def Version(self, request: pb.VersionRequest) -> pb.VersionResponse:
        return pb.VersionResponse(
            version=KUBELET_API_VERSION, runtime_name=RUNTIME_NAME, runtime_version=__version__,
            runtime_api_version="v1",
        )  # fmt: skip

    async def Status(self, request: pb.StatusRequest) -> pb.StatusResponse:
        network = await self._node.network()
        conditions = render.status_conditions(
            runtime_problem=await self._node.runtime_problem(),
            network_ready=network.ready, reason=network.reason, message=network.message,
        )  # fmt: skip
        return pb.StatusResponse(
            status=pb.RuntimeStatus(conditions=conditions),
            info=await self._node.info() if request.verbose else {},
            runtime_handlers=[render.runtime_handler(name, f) for name, f in self._node.handlers().items()],
            features=pb.RuntimeFeatures(
                supplemental_groups_policy=True,
                mount_options=self._node.mount_options,
                user_namespaces_host_network=any(f.user_namespaces for f in self._node.handlers().values()),
            ),
        )

    async def RuntimeConfig(self, request: pb.RuntimeConfigRequest) -> pb.RuntimeConfigResponse:
        driver = pb.SYSTEMD if self._node.cgroup_driver == "systemd" else pb.CGROUPFS
        return pb.RuntimeConfigResponse(linux=pb.LinuxRuntimeConfiguration(cgroup_driver=driver))

    async def UpdateRuntimeConfig(self, request: pb.UpdateRuntimeConfigRequest) -> pb.UpdateRuntimeConfigResponse:
        # With a CNI configuration the pod CIDR belongs to whoever writes that; the built-in network has to be told.
        if cidrs := request.runtime_config.network_config.pod_cidr:
            await self._node.set_pod_cidrs(cidrs.split(","))
        return pb.UpdateRuntimeConfigResponse()

    async def RunPodSandbox(self, request: pb.RunPodSandboxRequest) -> pb.RunPodSandboxResponse:
        validate.pod_config(request.config)
        sandbox = await self._backend.run_sandbox(request.config, request.runtime_handler)
        return pb.RunPodSandboxResponse(pod_sandbox_id=sandbox.id)

    async def StopPodSandbox(self, request: pb.StopPodSandboxRequest) -> pb.StopPodSandboxResponse:
        await self._backend.stop_sandbox(required(request.pod_sandbox_id, "pod_sandbox_id"))
        return pb.StopPodSandboxResponse()

    async def RemovePodSandbox(self, request: pb.RemovePodSandboxRequest) -> pb.RemovePodSandboxResponse:
        await self._backend.remove_sandbox(required(request.pod_sandbox_id, "pod_sandbox_id"))
        return pb.RemovePodSandboxResponse()

    async def PodSandboxStatus(self, request: pb.PodSandboxStatusRequest) -> pb.PodSandboxStatusResponse:
        sandbox = self._backend.sandbox(required(request.pod_sandbox_id, "pod_sandbox_id"))
        containers = [
            render.container_status(container)
            for container in self._backend.containers()
            if container.record.sandbox_id == sandbox.id
        ]
        return pb.PodSandboxStatusResponse(
            status=render.sandbox_status(sandbox),
            info=render.sandbox_info(sandbox, self._layout) if request.verbose else {},
            containers_statuses=containers, timestamp=time.time_ns(),
        )  # fmt: skip

    async def UpdatePodSandboxResources(
        self, request: pb.UpdatePodSandboxResourcesRequest
    ) -> pb.UpdatePodSandboxResourcesResponse:
        sandbox_id = required(request.pod_sandbox_id, "pod_sandbox_id")
        overhead = request.overhead if request.HasField("overhead") else None
        await self._backend.update_sandbox(
            sandbox_id, overhead, request.resources if request.HasField("resources") else None
        )
        return pb.UpdatePodSandboxResourcesResponse()

    async def ListPodSandbox(self, request: pb.ListPodSandboxRequest) -> pb.ListPodSandboxResponse:
        found = filters.sandboxes(self._backend.sandboxes(), request.filter)
        return pb.ListPodSandboxResponse(items=[render.sandbox_item(sandbox) for sandbox in found])

    async def CreateContainer(self, request: pb.CreateContainerRequest) -> pb.CreateContainerResponse:
        sandbox_id = required(request.pod_sandbox_id, "pod_sandbox_id")
        validate.container_config(request.config)
        container = await self._backend.create_container(sandbox_id, request.config, request.sandbox_config)
        return pb.CreateContainerResponse(container_id=container.id)

    async def StartContainer(self, request: pb.StartContainerRequest) -> pb.StartContainerResponse:
        await self._backend.start_container(required(request.container_id, "container_id"))
        return pb.StartContainerResponse()

    async def StopContainer(self, request: pb.StopContainerRequest) -> pb.StopContainerResponse:
        await self._backend.stop_container(required(request.container_id, "container_id"), float(request.timeout))
        return pb.StopContainerResponse()

    async def RemoveContainer(self, request: pb.RemoveContainerRequest) -> pb.RemoveContainerResponse:
        await self._backend.remove_container(required(request.container_id, "container_id"))
        return pb.RemoveContainerResponse()

    async def ListContainers(self, request: pb.ListContainersRequest) -> pb.ListContainersResponse:
        found = filters.containers(self._backend.containers(), request.filter)
        return pb.ListContainersResponse(containers=[render.container_item(container) for container in found])

    async def ContainerStatus(self, request: pb.ContainerStatusRequest) -> pb.ContainerStatusResponse:
        container = self._backend.container(required(request.container_id, "container_id"))
        return pb.ContainerStatusResponse(
            status=render.container_status(container),
            info=render.container_info(container, self._layout) if request.verbose else {},
        )

    async def UpdateContainerResources(
        self, request: pb.UpdateContainerResourcesRequest
    ) -> pb.UpdateContainerResourcesResponse:
        container_id = required(request.container_id, "container_id")
        await self._backend.update_container(container_id, request.linux, dict(request.annotations))
        return pb.UpdateContainerResourcesResponse()

    async def ReopenContainerLog(self, request: pb.ReopenContainerLogRequest) -> pb.ReopenContainerLogResponse:
        await self._backend.reopen_log(required(request.container_id, "container_id"))
        return pb.ReopenContainerLogResponse()

    async def ExecSync(self, request: pb.ExecSyncRequest) -> pb.ExecSyncResponse:
        container_id = required(request.container_id, "container_id")
        validate.command(request.cmd)
        timeout_s = validate.timeout(request.timeout)
        result = await self._backend.exec_sync(container_id, list(request.cmd), timeout_s)
        if result.timed_out:
            raise DeadlineExceeded(f"command {request.cmd[0]!r} did not end within {request.timeout} s and was killed")
        return pb.ExecSyncResponse(stdout=result.stdout, stderr=result.stderr, exit_code=result.exit_code)
