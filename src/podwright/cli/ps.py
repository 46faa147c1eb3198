"""`podwright ps`: the containers of the runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from podwright.base.errors import NotFound
from podwright.cli import output
from podwright.cli.client import QUICK_S, Client, connect
from podwright.cli.lookup import list_containers, list_pods, match_pod
from podwright.cli.options import Format, Output, Socket
from podwright.criapi import api_pb2 as pb


def ps(
    ctx: typer.Context,
    *,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Also those that don't run.")] = False,
    pod: Annotated[str | None, typer.Option("--pod", "-p", help="Only those of this pod (name or id).")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print whole ids and nothing else.")] = False,
    output_format: Output = Format.TABLE,
    socket: Socket = None,
) -> None:
    """List containers."""
    with connect(ctx, socket) as client:
        found, pods = list_containers(client), list_pods(client)
        images = {} if quiet or output_format is Format.JSON else image_names(client)
    if pod is not None:
        chosen = match_pod(pods, pod)
        if chosen is None:
            raise NotFound(f"no pod {pod!r}; `podwright pods` lists them")
        found = [container for container in found if container.pod_sandbox_id == chosen.id]
    if not everything:
        found = [container for container in found if container.state == pb.CONTAINER_RUNNING]
    if output_format is Format.JSON:
        output.print_json(output.as_dict(pb.ListContainersResponse(containers=found)))
    elif quiet:
        for container in found:
            output.print_line(container.id)
    else:
        names = {item.id: item.metadata.name for item in pods}
        output.print_table(
            ["CONTAINER ID", "NAME", "POD", "IMAGE", "STATE", "CREATED", "ATTEMPT"],
            [row(container, names, images) for container in found],
            right=["ATTEMPT"],
            states=["STATE"],
        )


def image_names(client: Client) -> dict[str, str]:
    """A name for each image's id: containers refer to images by id."""
    images = client.image.ListImages(pb.ListImagesRequest(), timeout=QUICK_S).images
    return {image.id: image.repo_tags[0] for image in images if image.repo_tags}


def row(container: pb.Container, pods: dict[str, str], images: dict[str, str]) -> Sequence[str]:
    """A container's line of the table."""
    image = container.image.user_specified_image or container.image.image
    image = images.get(image, image)
    return (
        output.short_id(container.id), container.metadata.name,
        pods.get(container.pod_sandbox_id, output.short_id(container.pod_sandbox_id)),
        output.short_id(image) if image.startswith("sha256:") else image,
        pb.ContainerState.Name(container.state).removeprefix("CONTAINER_").lower(),
        output.age(container.created_at), str(container.metadata.attempt),
    )  # fmt: skip
