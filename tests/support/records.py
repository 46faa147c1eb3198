"""Records of pods and containers as the verbs store them, for tests of what follows from facts."""

from __future__ import annotations

from collections.abc import Mapping

from podwright.container.model import ContainerRecord
from podwright.criapi import api_pb2 as pb
from podwright.sandbox.model import SandboxRecord
from podwright.state.boot import boot_id


def sandbox_record(sandbox_id: str, **facts: object) -> SandboxRecord:
    """A pod named like its id, of this boot; nothing has happened to it yet."""
    metadata = pb.PodSandboxMetadata(name=sandbox_id, namespace="ns", uid=f"uid-{sandbox_id}")
    config = pb.PodSandboxConfig(metadata=metadata).SerializeToString()
    given = {"id": sandbox_id, "config": config, "handler": "", "created_at": 1, "boot": boot_id(), **facts}
    return SandboxRecord(**given)  # type: ignore[arg-type]


def container_record(
    container_id: str, sandbox_id: str, *, labels: Mapping[str, str] | None = None, **facts: object
) -> ContainerRecord:
    """A container named like its id; nothing has happened to it yet."""
    config = pb.ContainerConfig(metadata=pb.ContainerMetadata(name=container_id), labels=dict(labels or {}))
    given = {
        "id": container_id, "sandbox_id": sandbox_id, "config": config.SerializeToString(), "handler": "",
        "image_id": "i", "image_ref": "r", "reserved_at": 1, "boot": boot_id(), **facts,
    }  # fmt: skip
    return ContainerRecord(**given)  # type: ignore[arg-type]
