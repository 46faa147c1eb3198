"""RemoveContainer: force-stop, then the engine's container, then the record. Each step is idempotent."""

from __future__ import annotations

from podwright.container.model import Container
from podwright.container.stop import Stopper
from podwright.docker.collaborators import Collaborators
from podwright.docker.container.exits import Exits
from podwright.docker.container.image_volumes import release_image_volumes
from podwright.docker.container.logs import Logs
from podwright.docker.engine_containers import remove
from podwright.docker.naming import container_name


async def remove_container(on: Collaborators, exits: Exits, logs: Logs, stopper: Stopper, container: Container) -> None:
    """Remove a container; the log file stays, it is the kubelet's. Raises when something is left: call again."""
    if not container.finished:
        await stopper.stop(container, 0)
    async with on.locks.hold(container.id):
        if container.id not in on.containers:
            return
        exits.forget(container.id)
        await take_down(on, logs, container)
        on.containers.remove(container.id)


async def take_down(on: Collaborators, logs: Logs, container: Container) -> None:
    """Remove all that a container has outside the store; used by remove, by a failed create and after a crash."""
    await logs.finish(container)
    await remove(on.engine, container_name(container))
    await release_image_volumes(on, container)
    logs.forget(container.id)
