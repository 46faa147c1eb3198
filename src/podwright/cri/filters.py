"""The filters of the list calls: all conditions must hold; ids may be prefixes; no match is an empty list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from podwright.container.model import Container
from podwright.cri.render import sandbox_state
from podwright.cri.validate import labels_match
from podwright.criapi import api_pb2 as pb
from podwright.sandbox.model import Sandbox


def sandboxes(found: Iterable[Sandbox], wanted: pb.PodSandboxFilter) -> Iterator[Sandbox]:
    """PodSandboxFilter"""
    for sandbox in found:
        if wanted.id and not sandbox.id.startswith(wanted.id):
            continue
        if wanted.HasField("state") and sandbox_state(sandbox) != wanted.state.state:
            continue
        if wanted.label_selector and not labels_match(wanted.label_selector, sandbox.config.labels):
            continue
        yield sandbox


def containers(found: Iterable[Container], wanted: pb.ContainerFilter) -> Iterator[Container]:
    """ContainerFilter"""
    for container in found:
        if wanted.id and not container.id.startswith(wanted.id):
            continue
        if wanted.pod_sandbox_id and not container.record.sandbox_id.startswith(wanted.pod_sandbox_id):
            continue
        if wanted.HasField("state") and container.state != wanted.state.state:
            continue
        if wanted.label_selector and not labels_match(wanted.label_selector, container.config.labels):
            continue
        yield container


def stats(found: Iterable[Container], wanted: pb.ContainerStatsFilter) -> Iterator[Container]:
    """ContainerStatsFilter: only containers that run have statistics."""
    for container in found:
        if not container.running:
            continue
        if wanted.id and not container.id.startswith(wanted.id):
            continue
        if wanted.pod_sandbox_id and not container.record.sandbox_id.startswith(wanted.pod_sandbox_id):
            continue
        if wanted.label_selector and not labels_match(wanted.label_selector, container.config.labels):
            continue
        yield container


def pod_stats(found: Iterable[Sandbox], wanted: pb.PodSandboxStatsFilter) -> Iterator[Sandbox]:
    """PodSandboxStatsFilter: only pods that are ready have statistics."""
    ready = pb.PodSandboxStateValue(state=pb.SANDBOX_READY)
    return sandboxes(found, pb.PodSandboxFilter(id=wanted.id, state=ready, label_selector=wanted.label_selector))
