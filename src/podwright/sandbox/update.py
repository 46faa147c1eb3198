"""UpdatePodSandboxResources: take note of a pod's new size.

The pod's cgroup is the kubelet's, who has resized it before it calls; runtimes that share the kernel have nothing
left to do. The size is kept for those that don't (a virtual machine), and shown by the verbose status.
"""

from __future__ import annotations

from podwright.base.errors import FailedPrecondition
from podwright.criapi import api_pb2 as pb
from podwright.sandbox.collaborators import Collaborators
from podwright.sandbox.model import Sandbox


def update_sandbox(
    on: Collaborators,
    sandbox: Sandbox,
    overhead: pb.LinuxContainerResources | None,
    resources: pb.LinuxContainerResources | None,
) -> None:
    """What is None stays as it is. Raises FailedPrecondition unless the pod is READY."""
    if not sandbox.ready:
        raise FailedPrecondition(f"pod sandbox {sandbox.id[:13]} is not ready: it has no resources to update")
    given = {"overhead": overhead, "resources": resources}
    facts = {name: value.SerializeToString(deterministic=True) for name, value in given.items() if value is not None}
    on.sandboxes.update(sandbox.id, **facts)
