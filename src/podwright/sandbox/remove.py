"""RemovePodSandbox: after the stop, the pod's files, cgroups and record. Idempotent."""

from __future__ import annotations

from podwright.base.files import remove_tree
from podwright.linux import mounts
from podwright.nri.base import Event
from podwright.sandbox.collaborators import Collaborators
from podwright.sandbox.model import Sandbox
from podwright.sandbox.stop import remove_cgroups


async def remove_sandbox(on: Collaborators, sandbox: Sandbox) -> None:
    """Remove what is left of a stopped pod without containers. Raises when something can't be removed: call again."""
    async with on.locks.hold(sandbox.id):
        if sandbox.id not in on.sandboxes:
            return
        directory = on.layout.sandbox(sandbox.id)
        mounts.unmount_tree(directory)
        remove_tree(directory)
        await remove_cgroups(on, sandbox)
        if sandbox.record.ready_at:
            await on.plugins.after(Event.REMOVE_POD_SANDBOX, sandbox.id)
        on.sandboxes.remove(sandbox.id)
