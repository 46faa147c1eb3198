"""What NRI's plugins see of this backend's pods and containers, and what they may do to them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from podwright.base.errors import InvalidArgument
from podwright.base.inflight import Stage
from podwright.base.log import get_logger
from podwright.container.collaborators import Collaborators as ContainerCollaborators
from podwright.container.model import Container
from podwright.container.spec.resources import cri_resources, linux_resources, updated_resources
from podwright.container.spec.security import UNCONFINED, seccomp_profile
from podwright.container.stop import Stopper
from podwright.container.update import changed, update_container
from podwright.criapi import api_pb2 as pb
from podwright.device.cdi import CdiDevices
from podwright.device.edits import gather
from podwright.linux.capability_sets import bounding_and_permitted
from podwright.nri import nri_pb2 as nri
from podwright.nri.describe import describe
from podwright.nri.hub import Host
from podwright.nri.resources import from_oci
from podwright.oci.runtime_spec import LinuxResources, StoredSpec
from podwright.sandbox.collaborators import Collaborators as SandboxCollaborators
from podwright.sandbox.facts import sandbox_facts
from podwright.sandbox.model import Sandbox
from podwright.sandbox.size import sized_by_client
from podwright.security.limits import oom_score_adj_floor

log = get_logger(__name__)

_STATES = {
    pb.CONTAINER_CREATED: nri.CONTAINER_CREATED, pb.CONTAINER_RUNNING: nri.CONTAINER_RUNNING,
    pb.CONTAINER_EXITED: nri.CONTAINER_STOPPED, pb.CONTAINER_UNKNOWN: nri.CONTAINER_UNKNOWN,
}  # fmt: skip
_spec = msgspec.json.Decoder(StoredSpec)


class PluginNode:
    """Implements `nri.base.Node`."""

    def __init__(self, pods: SandboxCollaborators, containers: ContainerCollaborators, stopper: Stopper) -> None:
        self._pods, self._containers, self._stopper = pods, containers, stopper

    def pod(self, sandbox_id: str) -> nri.PodSandbox:
        sandbox = self._pods.sandboxes.find_or_none(sandbox_id)
        return nri.PodSandbox(id=sandbox_id) if sandbox is None else self._pod(sandbox)

    def _pod(self, sandbox: Sandbox) -> nri.PodSandbox:
        config, record = sandbox.config, sandbox.record
        message = nri.PodSandbox(
            id=sandbox.id, name=config.metadata.name, uid=config.metadata.uid, namespace=config.metadata.namespace,
            labels=config.labels, annotations=config.annotations, runtime_handler=record.handler,
            pid=record.pause_pid, ips=sandbox.ips,
        )  # fmt: skip
        message.linux.cgroup_parent = config.linux.cgroup_parent or record.cgroup_parent
        message.linux.pod_overhead.CopyFrom(self._limits(sandbox, sandbox.overhead))
        message.linux.pod_resources.CopyFrom(self._limits(sandbox, sandbox.resources))
        if not record.network_released_at:  # a plugin must not open what is being taken down
            for kind, path in sandbox_facts(self._pods, sandbox).namespaces.items():
                message.linux.namespaces.add(type=kind, path=path)
        return message

    def _limits(self, sandbox: Sandbox, given: pb.LinuxContainerResources) -> nri.LinuxResources:
        return from_oci(pod_limits(self._containers, sandbox, given))

    def pod_annotations(self, container_id: str) -> Mapping[str, str]:
        container = self._containers.containers.find(container_id)
        sandbox = self._pods.sandboxes.find_or_none(container.record.sandbox_id)
        return sandbox.config.annotations if sandbox is not None else {}

    def container(self, container_id: str) -> nri.Container:
        container = self._containers.containers.find_or_none(container_id)
        return nri.Container(id=container_id) if container is None else self._container(container)

    def _container(self, container: Container) -> nri.Container:
        config, record = container.config, container.record
        message = nri.Container(
            id=container.id, pod_sandbox_id=record.sandbox_id, name=config.metadata.name,
            state=_STATES[container.state], labels=config.labels, pid=0 if record.finished_at else record.pid,
            created_at=record.created_at, started_at=record.started_at, finished_at=record.finished_at,
            exit_code=record.exit_code, status_reason=record.reason, status_message=record.message,
        )  # fmt: skip
        self._describe(container, message)
        message.annotations.update(config.annotations)
        message.CDI_devices.extend(nri.CDIDevice(name=device.name) for device in config.CDI_devices)
        _describe_seccomp(config, message.linux.seccomp_profile)
        return message

    def _describe(self, container: Container, message: nri.Container) -> None:
        """From the stored specification: there is none before CreateContainer's answer, nor after removal."""
        if not container.record.created_at:
            return
        try:
            stored = (self._containers.layout.bundle(container.id) / "config.json").read_bytes()
        except FileNotFoundError:
            return
        describe(_spec.decode(stored), message)

    def snapshot(self) -> tuple[list[nri.PodSandbox], list[nri.Container]]:
        containers = (c for c in self._containers.containers if c.record.created_at and not c.finished)
        pods = [self._pod(sandbox) for sandbox in self._pods.sandboxes if sandbox.record.ready_at]
        return pods, [self._container(container) for container in containers]

    async def update(self, container_id: str, resources: LinuxResources) -> None:
        container = self._containers.containers.find_or_none(container_id)
        if container is None or not container.record.created_at:
            # Upstream's runtimes let it pass as well. To wait for a creation would be to wait for oneself, where two
            # creations are asked to update each other.
            log.debug("an NRI plugin's update of a container that isn't there", container=container_id[:13])
            return
        change = cri_resources(resources)
        sandbox = self._pods.sandboxes.find(container.record.sandbox_id)
        sized = sized_by_client(self._pods.cgroups, sandbox)
        await update_container(self._containers, container, change, {}, Stage(), pod_is_sized=sized)

    async def evict(self, container_id: str, reason: str) -> None:
        container = self._containers.containers.find_or_none(container_id)
        if container is not None:
            await self._stopper.stop(container, 0)


def _describe_seccomp(config: pb.ContainerConfig, message: nri.SecurityProfile) -> None:
    asked = seccomp_profile(config.linux.security_context)
    if asked == UNCONFINED:
        message.profile_type = nri.SecurityProfile.UNCONFINED
    elif asked.kind == "localhost":
        message.profile_type = nri.SecurityProfile.LOCALHOST
        message.localhost_ref = asked.name
    else:
        message.profile_type = nri.SecurityProfile.RUNTIME_DEFAULT


def pod_limits(
    on: ContainerCollaborators, sandbox: Sandbox, given: pb.LinuxContainerResources | None
) -> LinuxResources:
    """A pod's size in OCI's words; nothing for what makes no sense, which nobody has checked yet."""
    if given is None:
        return LinuxResources()
    try:
        return linux_resources(given, on.host(sandbox.record.handler))
    except InvalidArgument:
        return LinuxResources()


async def announce_pod_update(
    pods: SandboxCollaborators, containers: ContainerCollaborators, sandbox: Sandbox,
    overhead: pb.LinuxContainerResources | None, resources: pb.LinuxContainerResources | None,
) -> None:  # fmt: skip
    """Ask the plugins about a pod's new size. Raises Refused."""
    if not pods.plugins.active:
        return
    await pods.plugins.update_pod(
        sandbox.id, pod_limits(containers, sandbox, overhead), pod_limits(containers, sandbox, resources)
    )


async def reviewed_update(
    on: ContainerCollaborators, container: Container, asked: pb.LinuxContainerResources
) -> pb.LinuxContainerResources:
    """The new limits as the plugins want them. Raises Refused, InvalidArgument."""
    if not on.plugins.active or container.finished:
        return asked
    host = on.host(container.record.handler)
    given = changed(asked, updated_resources(container.resources, asked), host)
    return cri_resources(await on.plugins.update(container.id, given))


def plugin_host(cdi: CdiDevices) -> Host:
    """What this machine can give to the containers that plugins adjust."""
    capabilities = bounding_and_permitted()
    may_raise = "CAP_SYS_RESOURCE" in capabilities
    return Host(oom_score_adj_floor(capabilities), may_raise, lambda names: gather(cdi.edits(names)))
