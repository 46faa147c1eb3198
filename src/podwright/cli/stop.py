"""`podwright stop`: stop containers, or pods with all that runs in them."""

from __future__ import annotations

from typing import Annotated

import typer

from podwright.base.errors import NotFound
from podwright.cli import output
from podwright.cli.client import SLOW_S, Client, connect
from podwright.cli.lookup import list_containers, list_pods, match_container, match_pod
from podwright.cli.options import Socket
from podwright.criapi import api_pb2 as pb


def stop(
    ctx: typer.Context,
    names: Annotated[list[str], typer.Argument(help="Containers or pods: ids, prefixes of ids, or names.")],
    *,
    time: Annotated[int, typer.Option("--time", "-t", min=0, help="Seconds to wait before a kill.")] = 10,
    socket: Socket = None,
) -> None:
    """Stop containers or pods."""
    with connect(ctx, socket) as client:
        containers, pods = list_containers(client), list_pods(client)
        for name in names:
            container, pod = match_container(containers, pods, name), match_pod(pods, name)
            if container is not None:
                stop_container(client, container.id, time)
                output.print_line(container.id)
            elif pod is not None:
                stop_pod(client, pod.id, [c for c in containers if c.pod_sandbox_id == pod.id], time)
                output.print_line(pod.id)
            else:
                raise NotFound(f"no container or pod {name!r}; `podwright ps` and `podwright pods` list them")


def stop_container(client: Client, container_id: str, grace_s: int) -> None:
    """Stop one container; it is dead when this returns."""
    request = pb.StopContainerRequest(container_id=container_id, timeout=grace_s)
    client.runtime.StopContainer(request, timeout=grace_s + SLOW_S)


def stop_pod(client: Client, pod_id: str, containers: list[pb.Container], grace_s: int) -> None:
    """Stop a pod: its containers with their grace at the same time, since StopPodSandbox alone kills them."""
    running = [container.id for container in containers if container.state == pb.CONTAINER_RUNNING]
    calls = [
        client.runtime.StopContainer.future(
            pb.StopContainerRequest(container_id=container_id, timeout=grace_s), timeout=grace_s + SLOW_S
        )
        for container_id in running
    ]
    for call in calls:
        call.result()
    client.runtime.StopPodSandbox(pb.StopPodSandboxRequest(pod_sandbox_id=pod_id), timeout=SLOW_S)
