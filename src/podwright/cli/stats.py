"""`podwright stats`: what the running containers use, or the pods; once or over and over."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, TypeVar

import typer
from google.protobuf.message import Message

from podwright.cli import output
from podwright.cli.client import QUICK_S, Client, connect
from podwright.cli.lookup import find_container, find_pod, list_pods
from podwright.cli.options import Format, Output, Socket
from podwright.criapi import api_pb2 as pb

_SAMPLE_S = 0.5
_CLEAR = "\x1b[H\x1b[2J"
_NUMBERS = ["CPU %", "MEMORY", "DISK", "INODES", "PROCESSES", "RECEIVED", "SENT"]

S = TypeVar("S", pb.ContainerStats, pb.PodSandboxStats)


def stats(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[CONTAINER|POD]", help="Only this one: id, prefix, name or POD/NAME.")
    ] = None,
    *,
    pods: Annotated[bool, typer.Option("--pods", "-p", help="Pods in place of containers.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show them anew every two seconds.")] = False,
    output_format: Output = Format.TABLE,
    socket: Socket = None,
) -> None:
    """Show what running containers or pods use.

    CPU in percent of one core, memory that can't be reclaimed, disk and inodes of the writable layer; of pods the
    processes, and what went through their network interface.
    """
    with connect(ctx, socket) as client:
        if pods:
            show_pods(client, name, output_format, watch=watch)
        else:
            show_containers(client, name, output_format, watch=watch)


def show_containers(client: Client, name: str | None, output_format: Format, *, watch: bool) -> None:
    """Running containers."""
    request = pb.ListContainerStatsRequest()
    if name is not None:
        request.filter.id = find_container(client, name).id

    def rows(before: Mapping[str, pb.ContainerStats], now: Mapping[str, pb.ContainerStats]) -> Iterator[Sequence[str]]:
        owners = owner_names(client)
        return (row(item, before.get(key), owners.get(key, "")) for key, item in now.items())

    columns = ["CONTAINER ID", "NAME", "POD", "CPU %", "MEMORY", "DISK", "INODES"]
    read = partial(client.runtime.ListContainerStats, request, timeout=QUICK_S)
    show(read, lambda item: item.cpu, columns, rows, output_format, watch=watch)


def show_pods(client: Client, name: str | None, output_format: Format, *, watch: bool) -> None:
    """Ready pods."""
    request = pb.ListPodSandboxStatsRequest()
    if name is not None:
        request.filter.id = find_pod(client, name).id

    def rows(
        before: Mapping[str, pb.PodSandboxStats], now: Mapping[str, pb.PodSandboxStats]
    ) -> Iterator[Sequence[str]]:
        return (pod_row(item, before.get(key)) for key, item in now.items())

    columns = ["POD ID", "NAME", "NAMESPACE", "CPU %", "MEMORY", "PROCESSES", "RECEIVED", "SENT"]
    read = partial(client.runtime.ListPodSandboxStats, request, timeout=QUICK_S)
    show(read, lambda item: item.linux.cpu, columns, rows, output_format, watch=watch)


def show(
    read: Callable[[], Any],
    cpu: Callable[[S], pb.CpuUsage],
    columns: Sequence[str],
    rows: Callable[[Mapping[str, S], Mapping[str, S]], Iterable[Sequence[str]]],
    output_format: Format,
    *,
    watch: bool,
) -> None:
    """What `read` answers (a message whose field `stats` has the items) as JSON, or as a table, once or on and on."""
    if output_format is Format.JSON:
        output.print_json(output.as_dict(read()))
        return
    for before, now in samples(lambda: read().stats, cpu, watch=watch):
        output.print_table(columns, rows(before, now), right=_NUMBERS)


def samples(
    read: Callable[[], Iterable[S]], cpu: Callable[[S], pb.CpuUsage], *, watch: bool
) -> Iterable[tuple[Mapping[str, S], Mapping[str, S]]]:
    """Pairs of a sample and the one before it, by id: one pair, or endlessly one every two seconds."""
    before = by_id(read())
    if not all(cpu(item).HasField("usage_nano_cores") for item in before.values()):
        pause(_SAMPLE_S)
    while True:
        now = by_id(read())
        if watch and sys.stdout.isatty():
            sys.stdout.write(_CLEAR)
        yield before, now
        if not watch:
            return
        before = now
        pause(2)


def by_id(items: Iterable[S]) -> Mapping[str, S]:
    return {item.attributes.id: item for item in items}


def owner_names(client: Client) -> Mapping[str, str]:
    """The pod's name by container id: statistics don't tell the pod."""
    pods = {pod.id: pod.metadata.name for pod in list_pods(client)}
    containers = client.runtime.ListContainers(pb.ListContainersRequest(), timeout=QUICK_S).containers
    return {c.id: pods.get(c.pod_sandbox_id, "") for c in containers}


def row(item: pb.ContainerStats, before: pb.ContainerStats | None, pod: str) -> Sequence[str]:
    """A container's line of the table. Disk usage that was not counted yet is empty."""
    disk, attributes = item.writable_layer, item.attributes
    return (
        output.short_id(attributes.id), attributes.metadata.name, pod, cpu_percent(item.cpu, before and before.cpu),
        output.size(item.memory.working_set_bytes.value),
        known(disk, "used_bytes", output.size), known(disk, "inodes_used", str),
    )  # fmt: skip


def pod_row(item: pb.PodSandboxStats, before: pb.PodSandboxStats | None) -> Sequence[str]:
    """A pod's line of the table. A pod on the host's network has no traffic of its own."""
    linux, attributes = item.linux, item.attributes
    interface = linux.network.default_interface
    return (
        output.short_id(attributes.id), attributes.metadata.name, attributes.metadata.namespace,
        cpu_percent(linux.cpu, before and before.linux.cpu), output.size(linux.memory.working_set_bytes.value),
        str(linux.process.process_count.value),
        known(interface, "rx_bytes", output.size), known(interface, "tx_bytes", output.size),
    )  # fmt: skip


def known(message: Message, field: str, show: Callable[[int], str]) -> str:
    """A number that may be absent."""
    return show(getattr(message, field).value) if message.HasField(field) else ""


def cpu_percent(cpu: pb.CpuUsage, before: pb.CpuUsage | None) -> str:
    """The runtime's own rate where it has one, else the difference of two samples; empty when neither is to be had."""
    if cpu.HasField("usage_nano_cores"):
        return f"{cpu.usage_nano_cores.value / 1e7:.1f}"
    if before is None or cpu.timestamp <= before.timestamp:
        return ""
    used = cpu.usage_core_nano_seconds.value - before.usage_core_nano_seconds.value
    return f"{100 * used / (cpu.timestamp - before.timestamp):.1f}"


def pause(seconds: float) -> None:
    """Sleep; there is no event loop in the command line that this could block."""
    time.sleep(seconds)  # noqa: TID251
