"""UpdateContainerResources: all limits of the request, or none.

What the cgroup's files hold is stored first, and written back when the engine fails, or by start-up when the daemon
died meanwhile. Memory and swap, quota and period go together, as the kernel takes them. Huge pages are written here.
"""

from __future__ import annotations

from collections.abc import Mapping

from podwright.base.errors import FailedPrecondition, InvalidArgument, PodwrightError
from podwright.base.inflight import Stage
from podwright.base.log import get_logger
from podwright.cgroup.base import Limits
from podwright.container.model import Container
from podwright.container.spec.resources import updated_resources
from podwright.container.update import changed, check_memory, check_state
from podwright.criapi import api_pb2 as pb
from podwright.docker.collaborators import Collaborators
from podwright.docker.container.resources import limits_body
from podwright.docker.naming import container_name
from podwright.oci.runtime_spec import LinuxResources

log = get_logger(__name__)


async def update_container(
    on: Collaborators, container: Container, change: pb.LinuxContainerResources, annotations: Mapping[str, str],
    stage: Stage,
) -> None:  # fmt: skip
    """Change the limits of a container that is CREATED or RUNNING; what is zero in `change` stays as it is.

    Raises InvalidArgument, FailedPrecondition (ended; more memory in use than the new limit), what the engine refuses.
    """
    if change.unified:
        raise InvalidArgument("Docker can't write files of cgroups; the native backend can", field="linux.unified")
    async with on.locks.hold(container.id):
        check_state(container)
        if container.record.update_undo:
            undo_update(on, container)
        wanted = updated_resources(container.resources, change)
        resources = changed(change, wanted, on.host())
        check_memory(on.cgroups, container, resources)
        if resources != LinuxResources():
            stage("limits")
            await _apply(on, container, resources)
        on.containers.update(
            container.id, resources=wanted.SerializeToString(deterministic=True), update_undo={},
            update_annotations={**container.record.update_annotations, **annotations},
        )  # fmt: skip
        stage("updated")


async def _apply(on: Collaborators, container: Container, resources: LinuxResources) -> None:
    """One that has not been started has no cgroup yet: the engine keeps its limits for it."""
    cgroup = container.record.cgroup
    on.containers.update(container.id, update_undo=on.cgroups.save(cgroup, resources))
    try:
        if body := limits_body(resources):
            await on.engine.post(f"/containers/{container_name(container)}/update", dict[str, object], body)
        hugepages = {limit.page_size: limit.limit for limit in resources.hugepage_limits}
        if hugepages and container.running:
            on.cgroups.set_limits(cgroup, Limits(hugepages=hugepages))
    except BaseException as error:
        undo_update(on, container)
        if container.finished and isinstance(error, PodwrightError):
            raise FailedPrecondition(f"container {container.id[:13]} ended while it was updated") from error
        raise


def undo_update(on: Collaborators, container: Container) -> None:
    """Write back what an update that did not finish may have changed. Where that fails it is tried again by the next
    update and at start-up."""
    saved = container.record.update_undo
    try:
        on.cgroups.restore(container.record.cgroup, saved)
    except PodwrightError as error:
        log.error("limits can't be restored after an update that failed", error=str(error), limits=saved)
        return
    on.containers.update(container.id, update_undo={})
