"""`podwright rmi`: remove images, or all that no container uses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from podwright.base.errors import InvalidArgument, NotFound
from podwright.cli import output
from podwright.cli.client import QUICK_S, SLOW_S, Client, connect
from podwright.cli.lookup import list_containers
from podwright.cli.options import Socket
from podwright.criapi import api_pb2 as pb


def rmi(
    ctx: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(help="Images: ids, prefixes of ids, or names.")] = None,
    *,
    prune: Annotated[bool, typer.Option("--prune", help="Remove all images that no container uses.")] = False,
    socket: Socket = None,
) -> None:
    """Remove images, each with all of its names."""
    if bool(names) == prune:
        raise InvalidArgument("name the images to remove, or give --prune to remove all that are unused")
    with connect(ctx, socket) as client:
        chosen = unused(client) if names is None or prune else [find_image(client, name) for name in names]
        for image in chosen:
            spec = pb.ImageSpec(image=image.id)
            client.image.RemoveImage(pb.RemoveImageRequest(image=spec), timeout=SLOW_S)
            output.print_line(f"removed {', '.join(image.repo_tags) or image.id}")


def find_image(client: Client, name: str) -> pb.Image:
    """The image that the runtime knows by `name`. RemoveImage itself says nothing when there is none."""
    request = pb.ImageStatusRequest(image=pb.ImageSpec(image=name))
    answer = client.image.ImageStatus(request, timeout=QUICK_S)
    if not answer.HasField("image"):
        raise NotFound(f"no image {name!r}; `podwright images` lists them")
    return answer.image


def unused(client: Client) -> Iterable[pb.Image]:
    """Images that no container was made of and that aren't pinned."""
    used = {value for c in list_containers(client) for value in (c.image_id, c.image_ref, c.image.image)}
    for image in client.image.ListImages(pb.ListImagesRequest(), timeout=QUICK_S).images:
        names = {image.id, *image.repo_tags, *image.repo_digests}
        if not image.pinned and not names & used:
            yield image
