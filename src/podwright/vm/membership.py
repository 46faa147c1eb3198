"""Which machine a container belongs to: one of its own, or that of its pod's sandbox container. Pure.

Both dialects are read: CRI-O's `io.kubernetes.cri-o.ContainerType` and `SandboxID`, and containerd's
`io.kubernetes.cri.container-type` and `sandbox-id`. Without them, as from podman, each container has a machine.
"""

from __future__ import annotations

from collections.abc import Mapping

from podwright.base.errors import InvalidArgument

_DIALECTS = (
    ("io.kubernetes.cri-o.ContainerType", "io.kubernetes.cri-o.SandboxID"),
    ("io.kubernetes.cri.container-type", "io.kubernetes.cri.sandbox-id"),
)


def machine_of(container_id: str, annotations: Mapping[str, str]) -> str:
    """The id of the container that has the machine. Raises InvalidArgument."""
    for kind, sandbox in _DIALECTS:
        if annotations.get(kind) == "container":
            if not annotations.get(sandbox):
                raise InvalidArgument("names no sandbox for a container of one", field=f"annotations.{sandbox}")
            return annotations[sandbox]
    return container_id
