"""StopPodSandbox and RemovePodSandbox: the sandbox container, network, files and record go. Idempotent."""

from __future__ import annotations

import time

from podwright.base.files import remove_tree
from podwright.docker.collaborators import Collaborators
from podwright.docker.engine_containers import remove
from podwright.docker.naming import pod_name
from podwright.linux import mounts
from podwright.sandbox.model import Sandbox
from podwright.sandbox.network import leave_network
from podwright.sandbox.stop import remove_cgroups, unpin


async def stop_sandbox(on: Collaborators, sandbox: Sandbox) -> None:
    """Take down what a stopped pod may not keep. Its containers have been stopped by the caller.

    Finishes or raises; a repeated call goes on where the last one failed. The network is left while its namespace is
    still there, whatever became of the sandbox container.
    """
    async with on.locks.hold(sandbox.id):
        if sandbox.id not in on.sandboxes:
            return
        if not sandbox.record.stopped_at:
            on.sandboxes.update(sandbox.id, stopped_at=time.time_ns())
        await leave_network(on, sandbox)
        unpin(on, sandbox)
        await remove(on.engine, pod_name(sandbox))


async def remove_sandbox(on: Collaborators, sandbox: Sandbox) -> None:
    """Remove what is left of a stopped pod without containers. Raises when something can't be removed: call again."""
    async with on.locks.hold(sandbox.id):
        if sandbox.id not in on.sandboxes:
            return
        directory = on.layout.sandbox(sandbox.id)
        mounts.unmount_tree(directory)
        remove_tree(directory)
        await remove_cgroups(on, sandbox)
        on.sandboxes.remove(sandbox.id)
