"""After a restart: pods that were half made are taken down, ready ones keep their addresses, orphans go."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec

from podwright.base.files import remove_tree
from podwright.base.log import get_logger, log_context
from podwright.linux import mounts
from podwright.network.base import NetworkResult
from podwright.sandbox.collaborators import Collaborators, PodParts
from podwright.sandbox.model import Sandbox
from podwright.sandbox.pause import Pause
from podwright.sandbox.remove import remove_sandbox
from podwright.sandbox.stop import stop_sandbox
from podwright.state.boot import boot_id

log = get_logger(__name__)


async def recover_sandboxes(on: Collaborators, pause: Pause) -> None:
    """Bring every record up to date; after the containers were."""
    await recover_each(on, partial(_recover, on, pause))


async def recover_each(on: PodParts, recover: Callable[[Sandbox], Awaitable[None]]) -> None:
    """What is the same for pods of every backend; `recover` brings one of them up to date."""
    for sandbox in on.sandboxes:
        with log_context(pod=sandbox.id[:13]):
            try:
                await recover(sandbox)
            except Exception as error:
                # It stays visible and NOTREADY; Stop and Remove come back to it.
                log.error("pod can't be recovered", error=repr(error))
    await collect_networks(on)
    for directory in on.layout.sandboxes.iterdir():
        if directory.name not in on.sandboxes:
            log.info("an orphaned pod directory is removed", directory=str(directory))
            mounts.unmount_tree(directory)
            remove_tree(directory)


async def collect_networks(on: PodParts) -> None:
    """Tell the plugins which pods there are, so that they drop what an unlucky crash has left with them."""
    attached = [s for s in on.sandboxes if s.record.network_asked_at and not s.record.network_released_at]
    try:
        await on.network.gc({s.id: _network_to_keep(s) for s in attached})
    except Exception as error:
        log.warning("the network's leftovers can't be collected", error=str(error))


def _network_to_keep(sandbox: Sandbox) -> NetworkResult | None:
    """A pod that has ended keeps its address until somebody stops it, and no host port."""
    result = sandbox.record.network
    return result if sandbox.ready or result is None else msgspec.structs.replace(result, forwards=())


async def _recover(on: Collaborators, pause: Pause, sandbox: Sandbox) -> None:
    record = sandbox.record
    if not record.ready_at:
        log.info("a half-made pod is taken down")
        await stop_sandbox(on, pause, sandbox)
        await remove_sandbox(on, sandbox)
        return
    if record.stopped_at or record.boot != boot_id():
        return
    if not all(mounts.is_mount_point(on.layout.namespace(sandbox.id, kind)) for kind in record.pinned):
        log.warning("a pod has lost its namespaces and is no longer ready")
        on.sandboxes.update(sandbox.id, stopped_at=time.time_ns(), ended_because="its namespaces are gone")
    elif pause.wanted(sandbox) and not pause.alive(sandbox):
        log.warning("a pod has lost its sandbox container and is no longer ready")
        on.sandboxes.update(
            sandbox.id, stopped_at=time.time_ns(), ended_because="its sandbox container ended by itself"
        )
    else:
        pause.watch(sandbox)
