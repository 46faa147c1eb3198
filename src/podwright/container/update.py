"""UpdateContainerResources: all limits of the request, or none.

The runtime writes limits one by one and may stop at any. So what the files hold is stored first, and written back
when the runtime fails, or by start-up when the daemon died meanwhile. What runtimes can't change is written here:
runc's update ignores huge pages, and crun can't lift a quota on cgroup v1.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from podwright.base.errors import FailedPrecondition, PodwrightError
from podwright.base.inflight import Stage
from podwright.base.log import get_logger
from podwright.base.tasks import shielded
from podwright.cgroup.base import CgroupDriver, Limits
from podwright.container.collaborators import Collaborators
from podwright.container.model import Container
from podwright.container.spec.facts import HostFacts
from podwright.container.spec.resources import NO_QUOTA, linux_resources, updated_resources
from podwright.criapi import api_pb2 as pb
from podwright.oci.runtime_spec import Cpu, LinuxResources

log = get_logger(__name__)


async def update_container(
    on: Collaborators,
    container: Container,
    change: pb.LinuxContainerResources,
    annotations: Mapping[str, str],
    stage: Stage,
    *,
    pod_is_sized: bool,
) -> None:
    """Change the limits of a container that is CREATED or RUNNING; what is zero in `change` stays as it is.

    `pod_is_sized`: the client sizes the pod's cgroup, which is all the limit that some runtimes' containers have.
    Raises InvalidArgument, FailedPrecondition (ended; more memory in use than the new limit), RuntimeFailed.
    """
    async with on.locks.hold(container.id):
        check_state(container)
        if container.record.update_undo:
            await undo_update(on, container)
        wanted = updated_resources(container.resources, change)
        resources = changed(change, wanted, on.host(container.record.handler))
        check_memory(on.cgroups, container, resources)
        if on.handlers.runtime(container.record.handler).limits_pods_only:
            _require_of_pod(container, resources, pod_is_sized=pod_is_sized)
        elif resources != LinuxResources():
            stage("limits")
            await _apply(on, container, resources)
        on.containers.update(
            container.id, resources=wanted.SerializeToString(deterministic=True), update_undo={},
            update_annotations={**container.record.update_annotations, **annotations},
        )  # fmt: skip
        stage("updated")


def changed(change: pb.LinuxContainerResources, wanted: pb.LinuxContainerResources, host: HostFacts) -> LinuxResources:
    """What to write. Values that the kernel or a runtime takes in pairs (memory and swap, quota and period) come
    along with the one that is changed; nothing else does."""
    resources = linux_resources(wanted, host)
    sizes = {limit.page_size for limit in change.hugepage_limits}
    memory = change.memory_limit_in_bytes or change.memory_swap_limit_in_bytes
    return LinuxResources(
        memory=resources.memory if memory else None,
        cpu=_changed_cpu(change, resources.cpu or Cpu()),
        hugepage_limits=[limit for limit in resources.hugepage_limits if limit.page_size in sizes],
        unified=dict(change.unified),
    )


def _changed_cpu(change: pb.LinuxContainerResources, wanted: Cpu) -> Cpu | None:
    bandwidth = change.cpu_quota or change.cpu_period
    cpu = Cpu(
        shares=wanted.shares if change.cpu_shares else None,
        quota=wanted.quota if bandwidth else None,
        period=wanted.period if bandwidth else None,
        cpus=change.cpuset_cpus, mems=change.cpuset_mems,
    )  # fmt: skip
    return None if cpu == Cpu() else cpu


def check_state(container: Container) -> None:
    """Raises FailedPrecondition unless it has limits to change."""
    if container.awaits_restore:
        raise FailedPrecondition(f"container {container.id[:13]} has no cgroup before its start from a checkpoint")
    if container.state not in (pb.CONTAINER_CREATED, pb.CONTAINER_RUNNING):
        state = pb.ContainerState.Name(container.state).removeprefix("CONTAINER_").lower()
        raise FailedPrecondition(
            f"container {container.id[:13]} is {state}: only a created or running one has resources to update"
        )


def _require_of_pod(container: Container, resources: LinuxResources, *, pod_is_sized: bool) -> None:
    """For a container without limits of its own: what the pod's cgroup limits, and the client has changed there."""
    who = f"container {container.id[:13]} shares its kernel with its pod, whose cgroup alone limits it"
    if not pod_is_sized:
        raise FailedPrecondition(f"{who}: change the pod's size (UpdatePodSandboxResources)")
    cpu = resources.cpu or Cpu()
    if cpu.cpus or cpu.mems or resources.hugepage_limits or resources.unified:
        raise FailedPrecondition(f"{who}: only memory, CPU shares and CPU quota can be changed")


def check_memory(cgroups: CgroupDriver, container: Container, resources: LinuxResources) -> None:
    """A limit below what is in use would have the kernel kill the container (cgroup v2), or refuse it late (v1)."""
    limit = resources.memory.limit if resources.memory else None
    if limit is None:
        return
    usage = cgroups.stats(container.record.cgroup)
    if usage is not None and usage.memory is not None:
        _require_below(limit, usage.memory.usage_bytes, container)


def _require_below(limit: int, used: int, container: Container) -> None:
    if used > limit > 0:
        raise FailedPrecondition(
            f"container {container.id[:13]} uses {used} bytes of memory: its limit can't be decreased to {limit}"
        )


async def _apply(on: Collaborators, container: Container, resources: LinuxResources) -> None:
    runtime = on.handlers.runtime(container.record.handler)
    if runtime.own_kernel:  # whose cgroups are none of this kernel's
        limit = resources.memory.limit if resources.memory else None
        if limit is not None and container.running and (usage := await runtime.usage(container.id)) is not None:
            _require_below(limit, usage.memory_bytes, container)
        await runtime.update(container.id, resources)
        return
    on.containers.update(container.id, update_undo=on.cgroups.save(container.record.cgroup, resources))
    try:
        ours, theirs = _divide(resources, unified=on.cgroups.version == "v2")
        if theirs != LinuxResources():
            await runtime.update(container.id, theirs)
        on.cgroups.set_limits(container.record.cgroup, ours)
    except BaseException as error:
        await shielded(undo_update(on, container), name="undo update")
        if container.finished and isinstance(error, PodwrightError):
            raise FailedPrecondition(f"container {container.id[:13]} ended while it was updated") from error
        raise


def _divide(resources: LinuxResources, *, unified: bool) -> tuple[Limits, LinuxResources]:
    """What is written here, and what by the runtime."""
    hugepages = {limit.page_size: limit.limit for limit in resources.hugepage_limits}
    theirs = msgspec.structs.replace(resources, hugepage_limits=[])
    cpu = resources.cpu
    if unified or cpu is None or cpu.quota != NO_QUOTA:
        return Limits(hugepages=hugepages), theirs
    rest = msgspec.structs.replace(cpu, quota=None)
    theirs = msgspec.structs.replace(theirs, cpu=None if rest == Cpu() else rest)
    return Limits(hugepages=hugepages, cpu_quota_us=NO_QUOTA), theirs


async def undo_update(on: Collaborators, container: Container) -> None:
    """Write back what an update that did not finish may have changed. Where that fails it is tried again by the next
    update and at start-up."""
    saved = container.record.update_undo
    try:
        if on.cgroups.naming == "systemd":
            await _tell_systemd(on, container, saved)
        on.cgroups.restore(container.record.cgroup, saved)
    except PodwrightError as error:
        log.error("limits can't be restored after an update that failed", error=str(error), limits=saved)
        return
    on.containers.update(container.id, update_undo={})


async def _tell_systemd(on: Collaborators, container: Container, saved: Mapping[str, str]) -> None:
    """systemd keeps limits of its own, for the scope, and writes them again when it reloads: a runtime tells it. Then
    the files are written all the same, so a failure is no failure."""
    resources = on.cgroups.as_resources(saved)
    if resources == LinuxResources():
        return
    try:
        await on.handlers.runtime(container.record.handler).update(container.id, resources)
    except PodwrightError as error:
        log.warning("systemd was not told the limits that are restored", error=str(error))
