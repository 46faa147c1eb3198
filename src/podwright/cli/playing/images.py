"""The images of a pod: looked up or pulled, as imagePullPolicy says."""

from __future__ import annotations

import grpc

from podwright.base.errors import NotFound, PodwrightError
from podwright.cli import output
from podwright.cli.client import QUICK_S, Client, translate
from podwright.cli.manifest.model import Container
from podwright.cli.pull import pull_image
from podwright.criapi import api_pb2 as pb


def obtain(client: Client, container: Container) -> pb.Image:
    """The container's image as the runtime has it. Raises NotFound, and what a pull can raise."""
    present = look_up(client, container.image)
    if present is not None and container.pull_policy != "Always":
        return present
    if container.pull_policy == "Never":
        raise NotFound(f"image {container.image} isn't there, and imagePullPolicy is Never; load or pull it first")
    output.print_line(f"pulling {container.image}")
    try:
        reference = pull_image(client, pb.PullImageRequest(image=pb.ImageSpec(image=container.image)))
    except grpc.RpcError as error:
        raise with_hint(translate(error, client.socket), container, present=present is not None) from error
    pulled = look_up(client, reference)
    if pulled is None:
        raise NotFound(f"image {container.image} was pulled as {reference}, but isn't there")
    return pulled


def look_up(client: Client, name: str) -> pb.Image | None:
    """An image by name or id; None when it isn't there."""
    request = pb.ImageStatusRequest(image=pb.ImageSpec(image=name))
    answer = client.image.ImageStatus(request, timeout=QUICK_S)
    return answer.image if answer.HasField("image") else None


def with_hint(error: PodwrightError, container: Container, *, present: bool) -> PodwrightError:
    """An error of a pull; if the image is there all the same, say how to use it."""
    if not present:
        return error
    hint = "the image is there: to use it as it is, set imagePullPolicy: IfNotPresent"
    return type(error)(f"{error} ({hint})")
