"""StopPodSandbox: containers, network, namespaces go; the record and its last addresses stay. Idempotent."""

from __future__ import annotations

import time

from podwright.base.log import get_logger
from podwright.linux import mounts
from podwright.network import namespaces
from podwright.nri.base import Event
from podwright.sandbox.collaborators import Collaborators, PodParts
from podwright.sandbox.model import Sandbox
from podwright.sandbox.network import leave_network
from podwright.sandbox.pause import Pause

log = get_logger(__name__)


async def stop_sandbox(on: Collaborators, pause: Pause, sandbox: Sandbox) -> None:
    """Take down what a stopped pod may not keep. Its containers have been stopped by the caller.

    Finishes or raises; a repeated call goes on where the last one failed.
    """
    async with on.locks.hold(sandbox.id):
        if sandbox.id not in on.sandboxes:
            return
        if not sandbox.record.stopped_at:
            on.sandboxes.update(sandbox.id, stopped_at=time.time_ns())
            if sandbox.record.ready_at:
                await on.plugins.after(Event.STOP_POD_SANDBOX, sandbox.id)
        await pause.remove(sandbox)
        await leave_network(on, sandbox)
        unpin(on, sandbox)
        mounts.unmount(on.layout.shm(sandbox.id), detach=True)


def unpin(on: PodParts, sandbox: Sandbox) -> None:
    """Let go of the pinned namespaces; the kernel frees them with their last user."""
    namespaces.unpin([on.layout.namespace(sandbox.id, kind) for kind in sandbox.record.pinned])


async def remove_cgroups(on: PodParts, sandbox: Sandbox) -> None:
    """Remove the cgroups that this pod made (not the kubelet's), empty ones only."""
    on.cgroups.remove(sandbox.record.made_cgroups)
    await on.cgroups.discard_parent(sandbox.record.cgroup_parent, sandbox.id)
