"""After a restart of ours: half-made pods are taken down, ready ones are watched again, what has no record goes."""

from __future__ import annotations

from functools import partial

from podwright.base.log import get_logger
from podwright.docker.collaborators import Collaborators
from podwright.docker.pod.hold import Holds
from podwright.docker.pod.stop import remove_sandbox, stop_sandbox
from podwright.sandbox.model import Sandbox
from podwright.sandbox.recover import recover_each

log = get_logger(__name__)


async def recover_sandboxes(on: Collaborators, holds: Holds) -> None:
    """Bring every record up to date; after the containers were."""
    await recover_each(on, partial(_recover, on, holds))


async def _recover(on: Collaborators, holds: Holds, sandbox: Sandbox) -> None:
    if not sandbox.record.ready_at:
        log.info("a half-made pod is taken down")
        await stop_sandbox(on, sandbox)
        await remove_sandbox(on, sandbox)
    elif sandbox.ready and holds.alive(sandbox):
        holds.watch(sandbox)
    else:
        holds.record_end(sandbox)
