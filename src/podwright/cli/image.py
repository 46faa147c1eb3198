"""`podwright image load` and `podwright image save`: images from and to archives, for machines without a registry.

Served by Podwright's own service, which opens the files itself: so paths are made absolute, and both programs run
on one machine.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from podwright.base.errors import AlreadyExists, NotFound
from podwright.cli import output
from podwright.cli.client import connect
from podwright.cli.options import Socket
from podwright.criapi import podwright_pb2 as own

application = typer.Typer(no_args_is_help=True, help="Load images from archives, save images to archives.")


class ArchiveFormat(StrEnum):
    """What an archive looks like inside."""

    OCI = "oci"
    DOCKER = "docker"


@application.command()
def load(
    ctx: typer.Context,
    archive: Annotated[Path, typer.Argument(help="A docker-archive, or an OCI layout (directory or tar).")],
    *,
    tag: Annotated[list[str] | None, typer.Option("--tag", "-t", help="Name the image so instead.")] = None,
    socket: Socket = None,
) -> None:
    """Load the images of an archive."""
    path = archive.absolute()
    if not path.exists():
        raise NotFound(f"no archive {archive}")
    with connect(ctx, socket) as client:
        answer = client.podwright.LoadImage(own.LoadImageRequest(path=str(path), tags=tag or []), timeout=None)
    for name in answer.names or answer.ids:
        output.print_line(f"loaded {name}")


@application.command()
def save(
    ctx: typer.Context,
    images: Annotated[list[str], typer.Argument(help="Ids, prefixes of ids, or names.")],
    *,
    archive: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The archive to write.")],
    archive_format: Annotated[ArchiveFormat, typer.Option("--format", help="What to write.")] = ArchiveFormat.OCI,
    socket: Socket = None,
) -> None:
    """Save images to a new archive."""
    path = archive.absolute()
    if path.exists():
        raise AlreadyExists(f"{archive} exists; remove it first, or choose another name")
    with connect(ctx, socket) as client:
        request = own.SaveImageRequest(images=images, path=str(path), format=archive_format.value)
        answer = client.podwright.SaveImage(request, timeout=None)
    output.print_line(f"saved {path}, {output.size(answer.bytes_written)}")
