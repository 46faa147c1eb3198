"""`podwright events`: what happens to pods and containers, a line each, as it happens."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated

import typer

from podwright.cli import output
from podwright.cli.client import connect
from podwright.cli.options import Format, Output, Socket
from podwright.criapi import api_pb2 as pb


def events(
    ctx: typer.Context,
    pod: Annotated[str | None, typer.Argument(help="Only this pod: id, prefix, name or NAMESPACE/NAME.")] = None,
    *,
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="End after so many events.")] = None,
    output_format: Output = Format.TABLE,
    socket: Socket = None,
) -> None:
    """Show what happens to pods and containers from now on, until interrupted."""
    with connect(ctx, socket) as client:
        stream = client.runtime.GetContainerEvents(pb.GetEventsRequest())
        for event in islice((e for e in stream if pod is None or is_about(e, pod)), count):
            if output_format is Format.JSON:
                sys.stdout.write(json.dumps(output.as_dict(event), ensure_ascii=False) + "\n")
            else:
                output.print_line("   ".join(columns(event)))
            sys.stdout.flush()  # whoever reads a pipe wants it now


def is_about(event: pb.ContainerEventResponse, pod: str) -> bool:
    """Whether the event is one of the pod that `pod` means. The pod may come to be later, so no look-up helps."""
    status = event.pod_sandbox_status
    names = (status.metadata.name, f"{status.metadata.namespace}/{status.metadata.name}")
    return pod in names or (bool(pod) and status.id.startswith(pod))


def columns(event: pb.ContainerEventResponse) -> Iterator[str]:
    """Time, step, what kind of thing, its id, its name, and how it ended."""
    pod = event.pod_sandbox_status
    full_name = f"{pod.metadata.namespace}/{pod.metadata.name}"
    of_pod = event.container_id == pod.id
    yield datetime.fromtimestamp(event.created_at / 1e9, UTC).isoformat(timespec="milliseconds")
    name = pb.ContainerEventType.Name(event.container_event_type)
    yield name.removeprefix("CONTAINER_").removesuffix("_EVENT").lower().ljust(7)
    yield ("pod" if of_pod else "container").ljust(9)
    yield output.short_id(event.container_id)
    status = next((s for s in event.containers_statuses if s.id == event.container_id), None)
    yield full_name if status is None else f"{full_name}/{status.metadata.name}"
    if status is not None and status.state == pb.CONTAINER_EXITED:
        yield f"exit code {status.exit_code} ({status.reason})"
