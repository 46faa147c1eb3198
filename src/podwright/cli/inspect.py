"""`podwright inspect`: everything the runtime says of one container, pod or image, as JSON in crictl's shape."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from podwright.base.errors import NotFound
from podwright.cli import output
from podwright.cli.client import QUICK_S, Client, connect
from podwright.cli.lookup import list_containers, list_pods, match_container, match_pod
from podwright.cli.options import Socket
from podwright.criapi import api_pb2 as pb

_TIMES = ("createdAt", "startedAt", "finishedAt")


def inspect(
    ctx: typer.Context,
    names: Annotated[list[str], typer.Argument(help="Containers, pods or images: ids, prefixes of ids, or names.")],
    *,
    socket: Socket = None,
) -> None:
    """Show all there is to know of containers, pods or images."""
    with connect(ctx, socket) as client:
        found = [look(client, name) for name in names]
    output.print_json(found[0] if len(found) == 1 else found)


def look(client: Client, name: str) -> dict[str, Any]:
    """The status of whatever `name` is; a container comes before a pod, a pod before an image."""
    pods = list_pods(client)
    container = match_container(list_containers(client), pods, name)
    if container is not None:
        request = pb.ContainerStatusRequest(container_id=container.id, verbose=True)
        answer = client.runtime.ContainerStatus(request, timeout=QUICK_S)
        return shown(output.as_dict(answer.status), answer.info)
    pod = match_pod(pods, name)
    if pod is not None:
        about = pb.PodSandboxStatusRequest(pod_sandbox_id=pod.id, verbose=True)
        status = client.runtime.PodSandboxStatus(about, timeout=QUICK_S)
        return shown(output.as_dict(status.status), status.info)
    image = client.image.ImageStatus(
        pb.ImageStatusRequest(image=pb.ImageSpec(image=name), verbose=True), timeout=QUICK_S
    )  # fmt: skip
    if image.HasField("image"):
        return shown(output.as_dict(image.image), image.info)
    raise NotFound(f"no container, pod or image {name!r}")


def shown(status: dict[str, Any], info: Mapping[str, str]) -> dict[str, Any]:
    """Status and info, with times for people, and with info that is JSON itself taken apart."""
    for key in _TIMES:
        if key in status:
            status[key] = rfc3339(int(status[key]))
    return {"status": status, "info": parsed_info(info)}


def parsed_info(info: Mapping[str, str]) -> object:
    """The map `info` of a verbose answer; a lone JSON value by the name `info` stands for itself."""
    values: dict[str, object] = {}
    for key, text in sorted(info.items()):
        try:
            values[key] = json.loads(text)
        except ValueError:
            values[key] = text
    return values["info"] if values.keys() == {"info"} else values


def rfc3339(time_ns: int) -> str:
    """A time in UTC with all its nanoseconds; empty for one that is not set."""
    if time_ns <= 0:
        return ""
    seconds, fraction = divmod(time_ns, 10**9)
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"
