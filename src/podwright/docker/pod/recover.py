"""After a restart of ours: half-made pods are taken down, ready ones are watched again, what has no record goes."""

from __future__ import annotations

from podwright.base.files import remove_tree
from podwright.base.log import get_logger, log_context
from podwright.docker.collaborators import Collaborators
from podwright.docker.pod.hold import Holds
from podwright.docker.pod.stop import remove_sandbox, stop_sandbox
from podwright.linux import mounts
from podwright.sandbox.model import Sandbox
from podwright.sandbox.recover import collect_networks

log = get_logger(__name__)


async def recover_sandboxes(on: Collaborators, holds: Holds) -> None:
    """Bring every record up to date; after the containers were."""
    for sandbox in on.sandboxes:
        with log_context(pod=sandbox.id[:13]):
            try:
                await _recover(on, holds, sandbox)
            except Exception as error:
                # It stays visible and NOTREADY; Stop and Remove come back to it.
                log.error("pod can't be recovered", error=repr(error))
    await collect_networks(on)
    for directory in on.layout.sandboxes.iterdir():
        if directory.name not in on.sandboxes:
            log.info("an orphaned pod directory is removed", directory=str(directory))
            mounts.unmount_tree(directory)
            remove_tree(directory)


async def _recover(on: Collaborators, holds: Holds, sandbox: Sandbox) -> None:
    if not sandbox.record.ready_at:
        log.info("a half-made pod is taken down")
        await stop_sandbox(on, sandbox)
        await remove_sandbox(on, sandbox)
    elif sandbox.ready and holds.alive(sandbox):
        holds.watch(sandbox)
    else:
        holds.record_end(sandbox)
