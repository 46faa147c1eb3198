"""Annotations in config.json: what the pod and the container carry, without what runtimes take as orders.

A key that steers a runtime, systemd or another engine would let whoever writes a pod's annotations command them
as root (CVE-2024-3154: org.systemd.property.*). Such keys pass only where the handler's configuration says so;
those of Podwright's own, in CRI-O's and containerd's dialects, are ours alone to set.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from podwright.container.spec.facts import ImageFacts, SandboxFacts
from podwright.criapi import api_pb2 as pb

_RESERVED = (
    "org.systemd.property.",
    "run.oci.",
    "io.kubernetes.cri-o.",
    "io.kubernetes.cri.",
    "io.containerd.",
    "containerd.io/",
    "io.katacontainers.",
    "dev.gvisor.",
    "org.criu.",
    "io.container.manager",
    "module.wasm.image/",
    "cdi.k8s.io/",
    "nri.io/",
    "podwright.",
)


def container_annotations(
    *,
    container_id: str,
    container_name: str,
    given: Mapping[str, str],
    sandbox: SandboxFacts,
    image: ImageFacts,
    allowed: tuple[str, ...],
) -> dict[str, str]:
    """The pod's annotations, the container's over them, and which container of which pod this is."""
    passed = {**_filtered(sandbox.annotations, allowed), **_filtered(given, allowed)}
    crio = {
        "ContainerType": "container",
        "ContainerID": container_id,
        "ContainerName": container_name,
        "ImageName": image.name,
        "LogPath": "",
    }
    containerd = {"container-type": "container", "container-name": container_name, "image-name": image.name}
    return passed | _dialects(sandbox, crio, containerd)


def sandbox_annotations(sandbox: SandboxFacts, *, allowed: tuple[str, ...] = ()) -> dict[str, str]:
    """Those of a sandbox container, with the pod's size, by which runtimes make a virtual machine or a sentry."""
    crio = {"ContainerType": "sandbox", "ContainerID": sandbox.id, "ContainerName": "POD"}
    containerd = {"container-type": "sandbox"}
    resources = sandbox.resources
    if resources is not None and resources != pb.LinuxContainerResources():
        crio["PodLinuxResources"] = _as_json(resources)
        containerd |= {
            "sandbox-cpu-period": str(resources.cpu_period),
            "sandbox-cpu-quota": str(resources.cpu_quota),
            "sandbox-cpu-shares": str(resources.cpu_shares),
            "sandbox-memory": str(resources.memory_limit_in_bytes),
        }
    if sandbox.overhead is not None and sandbox.overhead != pb.LinuxContainerResources():
        crio["PodLinuxOverhead"] = _as_json(sandbox.overhead)
    return _filtered(sandbox.annotations, allowed) | _dialects(sandbox, crio, containerd)


def _as_json(resources: pb.LinuxContainerResources) -> str:
    """As Go encodes the message, whose numbers are numbers."""
    sizes = [{"page_size": limit.page_size, "limit": limit.limit} for limit in resources.hugepage_limits]
    plain = {
        field.name: value for field, value in resources.ListFields() if isinstance(value, int | str)
    }  # fmt: skip
    tables = {"hugepage_limits": sizes, "unified": dict(resources.unified)}
    return json.dumps(plain | {name: value for name, value in tables.items() if value})


def _filtered(given: Mapping[str, str], allowed: tuple[str, ...]) -> dict[str, str]:
    return {
        key: value
        for key, value in given.items()
        if key and (not key.startswith(_RESERVED) or (bool(allowed) and key.startswith(allowed)))
    }


def _dialects(sandbox: SandboxFacts, crio: Mapping[str, str], containerd: Mapping[str, str]) -> dict[str, str]:
    """Runtimes that make a pod a virtual machine look for one dialect or the other."""
    crio = {
        **crio,
        "SandboxID": sandbox.id,
        "SandboxName": sandbox.name,
        "Namespace": sandbox.namespace,
        "KubeName": sandbox.name,
    }
    containerd = {
        **containerd,
        "sandbox-id": sandbox.id,
        "sandbox-name": sandbox.name,
        "sandbox-namespace": sandbox.namespace,
        "sandbox-uid": sandbox.uid,
        "sandbox-log-directory": sandbox.log_directory,
    }
    ours = {f"io.kubernetes.cri-o.{key}": value for key, value in crio.items() if value}
    return ours | {f"io.kubernetes.cri.{key}": value for key, value in containerd.items() if value}
