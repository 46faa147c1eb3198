"""After a restart of ours: what became of each container. Runs before the socket answers, so no status is ever wrong.

The engine is asked about each; what was half made is taken down, and what carries our labels and has no record goes.
One container that can't be recovered is set aside, and the others go on.
"""

from __future__ import annotations

from podwright.base.log import get_logger, log_context
from podwright.container.model import Container
from podwright.docker.answers import Inspected
from podwright.docker.collaborators import Collaborators
from podwright.docker.container.exits import Exits
from podwright.docker.container.image_volumes import recover_image_volumes
from podwright.docker.container.logs import Logs
from podwright.docker.container.remove import take_down
from podwright.docker.container.start import record_start
from podwright.docker.container.update import undo_update
from podwright.docker.engine_containers import inspect, ours, remove
from podwright.docker.naming import ID, container_name
from podwright.linux.pidfd import is_alive

log = get_logger(__name__)


async def recover_containers(on: Collaborators, exits: Exits, logs: Logs) -> None:
    """Bring every record up to date."""
    for container in on.containers:
        with log_context(container=container.id[:13]):
            try:
                await _recover(on, exits, logs, container)
            except Exception as error:
                log.error("container can't be recovered", error=repr(error))
    await recover_image_volumes(on)
    await _sweep(on)


async def _recover(on: Collaborators, exits: Exits, logs: Logs, container: Container) -> None:
    """One container: taken down if it was never whole, ended if it ended, watched again if it lives."""
    if not container.record.created_at:
        log.info("a half-made container is taken down")
        await take_down(on, logs, container)
        on.containers.remove(container.id)
        return
    if container.finished:
        logs.resume(container)
        return
    found = await inspect(on.engine, container_name(container))
    if found is not None and found.state.status == "created":
        return
    if found is not None and not container.record.started_at:
        record_start(on, container, found)  # a start that was under way when the daemon died took effect
    if found is not None and container.record.update_undo:
        log.info("an unfinished update of limits is undone")
        undo_update(on, container)
    if found is not None:
        on.layers.learn(container.id, found)
    await _find_end(on, exits, logs, container, found)


async def _find_end(on: Collaborators, exits: Exits, logs: Logs, container: Container, found: Inspected | None) -> None:
    """The rest of its output is taken in any case; a container that somebody has removed has none."""
    logs.follow(container)
    exits.watch(container)
    if found is not None and found.state.running and container.process is not None and is_alive(container.process):
        log.info("container lives")
    else:
        await exits.ended(container)


async def _sweep(on: Collaborators) -> None:
    """Containers of ours without a record: nothing refers to them. Nobody else's are even looked at."""
    known = {container.id for container in on.containers} | {sandbox.id for sandbox in on.sandboxes}
    async for listed in ours(on.engine, on.instance):
        if (listed.labels or {}).get(ID) not in known:
            log.info("an orphaned container is removed", engine_id=listed.id[:13])
            await remove(on.engine, listed.id)
