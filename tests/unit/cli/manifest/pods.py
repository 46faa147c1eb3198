"""Makes Pod documents for tests: a minimal one, with whatever a test adds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from podwright.cli.manifest.facts import Host, Instance
from podwright.cli.manifest.model import Pod
from podwright.cli.manifest.node import Node
from podwright.cli.manifest.read_pod import read_pod

HOST = Host(
    name="node1", ip="10.1.1.1", memory_bytes=8 * 2**30,
    resolv_conf="search example.org\nnameserver 10.0.0.1\noptions ndots:1 edns0\n", hosts="127.0.0.1 localhost node1\n",
)  # fmt: skip


def document(spec: dict[str, Any] | None = None, container: dict[str, Any] | None = None) -> dict[str, Any]:
    """A Pod document; `container` is merged into its one container, `spec` into its spec."""
    first = {"name": "web", "image": "busybox:1.36", **(container or {})}
    metadata = {"name": "hello", "labels": {"app": "x"}, "annotations": {"note": "y"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": [first], **(spec or {})},
    }


def pod(
    spec: dict[str, Any] | None = None, container: dict[str, Any] | None = None, warnings: list[str] | None = None
) -> Pod:
    """The same, read."""
    return read_pod(Node(document(spec, container), "", ([] if warnings is None else warnings).append))


def instance(of: Pod, *, ips: tuple[str, ...] = ("10.85.0.7", "fd00::7")) -> Instance:
    """A playing of it."""
    return Instance(
        uid="u-1",
        log_directory=Path("/state/logs"),
        volumes={volume.name: Path("/state/volumes") / volume.name for volume in of.volumes},
        hosts=Path("/state/hosts"),
        termination_logs={c.name: Path("/state/termination") / c.name for c in of.all_containers},
        ips=ips,
    )
