"""After a restart: what became of each container. Runs before the socket answers, so no status is ever wrong.

Facts that are missing are found out from the exit file, the processes and the runtime; what was half made is
taken down. One container that can't be recovered is set aside, and the others go on.
"""

from __future__ import annotations

import time

from podwright.base.files import remove_tree
from podwright.base.log import get_logger, log_context
from podwright.container.collaborators import Collaborators
from podwright.container.exits import Exits, monitored
from podwright.container.image_volumes import is_key_of_volume, sweep_image_volumes
from podwright.container.model import EXIT_CODE_LOST, Container
from podwright.container.remove import take_down
from podwright.container.update import undo_update
from podwright.linux import mounts
from podwright.state.boot import boot_id

log = get_logger(__name__)


async def recover_containers(on: Collaborators, exits: Exits) -> None:
    """Bring every record up to date."""
    await on.handlers.end_leftovers()
    for container in on.containers:
        with log_context(container=container.id[:13]):
            try:
                await recover_container(on, exits, container)
            except Exception as error:
                log.error("container can't be recovered", error=repr(error))
                if not container.finished:
                    _record_loss(on, container, f"could not be recovered: {error}")
    await _sweep(on)
    await sweep_image_volumes(on)


async def recover_container(on: Collaborators, exits: Exits, container: Container) -> None:
    """One container: taken down if it was never whole, ended if it ended, watched again if it lives."""
    if not container.record.created_at:
        log.info("a half-made container is taken down")
        await take_down(on, exits, container)
        on.containers.remove(container.id)
        return
    if container.finished:
        if container.record.boot == boot_id():
            await exits.release_runtime(container)
        return
    if container.record.boot != boot_id():
        _record_loss(on, container, "the machine was restarted")
        return
    if container.awaits_restore:
        # A restore that was under way is none: the files are still there for the next start.
        await on.monitor.abandon(container.id, on.layout.bundle(container.id))
        await on.handlers.runtime(container.record.handler).delete(container.id, force=True)
        return
    ended = await on.monitor.exit_now(monitored(on, container))
    if ended is None:
        if container.record.update_undo:
            log.info("an unfinished update of limits is undone")
            await undo_update(on, container)
        await _find_start(on, container)
        exits.watch(container)
        log.info("container lives", state=container.state)
        return
    if not container.record.started_at:
        # It ran or was killed while created; either way the kubelet expects a start before an end.
        on.containers.update(container.id, started_at=container.record.created_at)
    await exits.record(container, ended)


async def _find_start(on: Collaborators, container: Container) -> None:
    """Whether a start that was under way when the daemon died took effect: the runtime knows."""
    if container.record.started_at:
        return
    state = await on.handlers.runtime(container.record.handler).state(container.id)
    if state is not None and state.status in ("running", "paused"):
        on.containers.update(container.id, started_at=time.time_ns())


def _record_loss(on: Collaborators, container: Container, message: str) -> None:
    now = time.time_ns()
    on.containers.update(
        container.id, finished_at=now, started_at=container.record.started_at or container.record.created_at or now,
        exit_code=EXIT_CODE_LOST, reason="Error", message=message,
    )  # fmt: skip


async def _sweep(on: Collaborators) -> None:
    """Bundles and file systems without a record, or with one that nobody can read: nothing refers to them."""
    for bundle in on.layout.containers.iterdir():
        if bundle.name not in on.containers:
            log.info("an orphaned bundle is removed", bundle=str(bundle))
            await on.monitor.abandon(bundle.name, bundle)
            mounts.unmount_tree(bundle)
            remove_tree(bundle)
    for key in on.snapshots.prepared():
        if key not in on.containers and not is_key_of_volume(key):
            log.info("an orphaned file system of a container is removed", container=key[:13])
            await on.monitor.abandon(key, on.layout.bundle(key))
            await on.snapshots.remove(key)
