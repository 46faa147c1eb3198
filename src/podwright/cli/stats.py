"""`podwright stats`: what the running containers use, once or over and over."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from podwright.cli import output
from podwright.cli.client import QUICK_S, Client, connect
from podwright.cli.lookup import find_container, list_pods
from podwright.cli.options import Format, Output, Socket
from podwright.criapi import api_pb2 as pb

Samples = Mapping[str, pb.ContainerStats]
_SAMPLE_S = 0.5
_CLEAR = "\x1b[H\x1b[2J"


def stats(
    ctx: typer.Context,
    container: Annotated[str | None, typer.Argument(help="Only this container: id, prefix, name or POD/NAME.")] = None,
    *,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show them anew every two seconds.")] = False,
    output_format: Output = Format.TABLE,
    socket: Socket = None,
) -> None:
    """Show what running containers use.

    CPU in percent of one core, memory that can't be reclaimed, disk and inodes of the writable layer.
    """
    with connect(ctx, socket) as client:
        request = pb.ListContainerStatsRequest()
        if container is not None:
            request.filter.id = find_container(client, container).id
        if output_format is Format.JSON:
            answer = client.runtime.ListContainerStats(request, timeout=QUICK_S)
            output.print_json(output.as_dict(answer))
            return
        before = sample(client, request)
        if not all(item.cpu.HasField("usage_nano_cores") for item in before.values()):
            pause(_SAMPLE_S)
        while True:
            now = sample(client, request)
            pods = {pod.id: pod.metadata.name for pod in list_pods(client)} if watch or now else {}
            owners = owner_names(client, pods)
            if watch and sys.stdout.isatty():
                sys.stdout.write(_CLEAR)
            output.print_table(
                ["CONTAINER ID", "NAME", "POD", "CPU %", "MEMORY", "DISK", "INODES"],
                [row(item, before.get(key), owners.get(key, "")) for key, item in now.items()],
                right=["CPU %", "MEMORY", "DISK", "INODES"],
            )
            if not watch:
                return
            before = now
            pause(2)


def sample(client: Client, request: pb.ListContainerStatsRequest) -> Samples:
    """Statistics by container id."""
    answer = client.runtime.ListContainerStats(request, timeout=QUICK_S)
    return {item.attributes.id: item for item in answer.stats}


def owner_names(client: Client, pods: Mapping[str, str]) -> Mapping[str, str]:
    """The pod's name by container id: statistics don't tell the pod."""
    containers = client.runtime.ListContainers(pb.ListContainersRequest(), timeout=QUICK_S).containers
    return {c.id: pods.get(c.pod_sandbox_id, "") for c in containers}


def row(item: pb.ContainerStats, before: pb.ContainerStats | None, pod: str) -> Sequence[str]:
    """A container's line of the table."""
    disk = item.writable_layer
    return (
        output.short_id(item.attributes.id), item.attributes.metadata.name, pod, cpu_percent(item.cpu, before),
        output.size(item.memory.working_set_bytes.value), output.size(disk.used_bytes.value),
        str(disk.inodes_used.value),
    )  # fmt: skip


def cpu_percent(cpu: pb.CpuUsage, before: pb.ContainerStats | None) -> str:
    """The runtime's own rate where it has one, else the difference of two samples; empty when neither is to be had."""
    if cpu.HasField("usage_nano_cores"):
        return f"{cpu.usage_nano_cores.value / 1e7:.1f}"
    if before is None or cpu.timestamp <= before.cpu.timestamp:
        return ""
    used = cpu.usage_core_nano_seconds.value - before.cpu.usage_core_nano_seconds.value
    return f"{100 * used / (cpu.timestamp - before.cpu.timestamp):.1f}"


def pause(seconds: float) -> None:
    """Sleep; there is no event loop in the command line that this could block."""
    time.sleep(seconds)  # noqa: TID251
