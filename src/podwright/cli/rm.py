"""`podwright rm`: remove containers, or pods with all that is in them."""

from __future__ import annotations

from typing import Annotated

import typer

from podwright.base.errors import FailedPrecondition, InvalidArgument, NotFound
from podwright.cli import output
from podwright.cli.client import SLOW_S, Client, connect
from podwright.cli.lookup import list_containers, list_pods, match_container, match_pod
from podwright.cli.options import Socket
from podwright.cli.stop import stop_container, stop_pod
from podwright.criapi import api_pb2 as pb


def rm(
    ctx: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(help="Containers or pods: ids, prefixes of ids, names.")] = None,
    *,
    force: Annotated[bool, typer.Option("--force", "-f", help="Stop what still runs.")] = False,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Remove all pods.")] = False,
    time: Annotated[int, typer.Option("--time", "-t", min=0, help="With --force: seconds before a kill.")] = 10,
    socket: Socket = None,
) -> None:
    """Remove containers or pods."""
    if bool(names) == everything:
        raise InvalidArgument("name what to remove, or give --all to remove all pods")
    with connect(ctx, socket) as client:
        containers, pods = list_containers(client), list_pods(client)
        for name in names or [pod.id for pod in pods]:
            container, pod = match_container(containers, pods, name), match_pod(pods, name)
            if container is not None:
                remove_container(client, container, time if force else None)
                output.print_line(container.id)
            elif pod is not None:
                remove_pod(client, pod, [c for c in containers if c.pod_sandbox_id == pod.id], time if force else None)
                output.print_line(pod.id)
            else:
                raise NotFound(f"no container or pod {name!r}; `podwright ps -a` and `podwright pods` list them")


def remove_container(client: Client, container: pb.Container, grace_s: int | None) -> None:
    """Remove a container. One that runs is stopped first, or, without a grace period, an error."""
    if container.state == pb.CONTAINER_RUNNING:
        if grace_s is None:
            raise FailedPrecondition(f"container {container.metadata.name} runs; stop it first, or use --force")
        stop_container(client, container.id, grace_s)
    client.runtime.RemoveContainer(pb.RemoveContainerRequest(container_id=container.id), timeout=SLOW_S)


def remove_pod(client: Client, pod: pb.PodSandbox, containers: list[pb.Container], grace_s: int | None) -> None:
    """Remove a pod with its containers. One that is ready is stopped first, or, without a grace period, an error."""
    if pod.state == pb.SANDBOX_READY and grace_s is None:
        raise FailedPrecondition(f"pod {pod.metadata.name} is ready; stop it first, or use --force")
    stop_pod(client, pod.id, containers, grace_s or 0)
    client.runtime.RemovePodSandbox(pb.RemovePodSandboxRequest(pod_sandbox_id=pod.id), timeout=SLOW_S)
