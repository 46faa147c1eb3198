"""UpdatePodSandboxResources: a pod's new size.

The pod's cgroup is the kubelet's, who has resized it before it calls; where it is ours it is resized here. The size is
kept for what else wants to know it: the verbose status, NRI plugins, a runtime that can't do with the cgroup.
"""

from __future__ import annotations

from podwright.base.errors import FailedPrecondition
from podwright.criapi import api_pb2 as pb
from podwright.sandbox.collaborators import PodParts
from podwright.sandbox.model import Sandbox
from podwright.sandbox.size import resize_cgroup


def update_sandbox(
    on: PodParts,
    sandbox: Sandbox,
    overhead: pb.LinuxContainerResources | None,
    resources: pb.LinuxContainerResources | None,
) -> None:
    """What is None stays as it is. Raises FailedPrecondition unless the pod is READY, InvalidArgument."""
    if not sandbox.ready:
        raise FailedPrecondition(f"pod sandbox {sandbox.id[:13]} is not ready: it has no resources to update")
    resize_cgroup(
        on.cgroups, sandbox, sandbox.resources if resources is None else resources,
        sandbox.overhead if overhead is None else overhead,
    )  # fmt: skip
    given = {"overhead": overhead, "resources": resources}
    facts = {name: value.SerializeToString(deterministic=True) for name, value in given.items() if value is not None}
    on.sandboxes.update(sandbox.id, **facts)
