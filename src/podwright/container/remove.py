"""RemoveContainer: force-stop, then take down what create made, in reverse. Each step is idempotent."""

from __future__ import annotations

from podwright.base.files import remove_tree
from podwright.base.log import get_logger
from podwright.base.tasks import in_thread
from podwright.container.collaborators import Collaborators
from podwright.container.exits import Exits
from podwright.container.image_volumes import release_image_volumes
from podwright.container.model import Container
from podwright.container.stop import Stopper
from podwright.linux import mounts
from podwright.nri.base import Event

log = get_logger(__name__)


async def remove_container(on: Collaborators, exits: Exits, stopper: Stopper, container: Container) -> None:
    """Remove a container; the log file stays, it is the kubelet's. Raises when something is left: call again."""
    if not container.finished:
        await stopper.stop(container, 0)
    async with on.locks.hold(container.id):
        if container.id not in on.containers:
            return
        await take_down(on, exits, container)
        if container.record.created_at:
            await on.plugins.after(Event.REMOVE_CONTAINER, container.id)
        on.containers.remove(container.id)


async def take_down(on: Collaborators, exits: Exits, container: Container) -> None:
    """Remove all that a container has outside the store; used by remove, by a failed create and after a crash."""
    # First the monitor: after a crash it may be creating the container this very moment.
    await on.monitor.abandon(container.id, on.layout.bundle(container.id))
    await exits.release_runtime(container)
    if not container.record.created_at:
        # A runtime that was killed while it created has no state of the container yet, but its cgroup.
        await on.cgroups.discard(container.record.cgroup)
    exits.forget(container.id)
    release_rootfs(on, container.id)
    await on.snapshots.remove(container.id)
    if container.record.restored:
        await in_thread(remove_tree, on.layout.restore(container.id))
    bundle = on.layout.bundle(container.id)
    mounts.unmount_tree(bundle)
    await release_image_volumes(on, container)
    remove_tree(bundle)


def release_rootfs(on: Collaborators, container_id: str) -> None:
    """Unmount the root file system; idempotent."""
    rootfs = on.layout.rootfs(container_id)
    if rootfs.exists():
        on.snapshots.unmount(rootfs)
