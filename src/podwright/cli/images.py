"""`podwright images`: the images of the runtime, a line for each name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from podwright.cli import output
from podwright.cli.client import QUICK_S, connect
from podwright.cli.options import Format, Output, Socket
from podwright.criapi import api_pb2 as pb

_NONE = "<none>"


def images(
    ctx: typer.Context,
    reference: Annotated[str | None, typer.Argument(help="Only this image.")] = None,
    *,
    digests: Annotated[bool, typer.Option("--digests", help="Show the digests of the manifests.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print whole ids and nothing else.")] = False,
    output_format: Output = Format.TABLE,
    socket: Socket = None,
) -> None:
    """List images."""
    request = pb.ListImagesRequest()
    if reference is not None:
        request.filter.image.image = reference
    with connect(ctx, socket) as client:
        answer = client.image.ListImages(request, timeout=QUICK_S)
    if output_format is Format.JSON:
        output.print_json(output.as_dict(answer))
    elif quiet:
        for image in answer.images:
            output.print_line(image.id)
    else:
        columns = ["REPOSITORY", "TAG", *(["DIGEST"] if digests else []), "IMAGE ID", "SIZE"]
        rows = sorted(
            (row for image in answer.images for row in rows_of(image, digests=digests)),
            key=lambda row: (row[0], row[1]),
        )
        output.print_table(columns, rows, right=["SIZE"])


def rows_of(image: pb.Image, *, digests: bool) -> Iterator[Sequence[str]]:
    """The lines of one image: one for each of its names, or one without a name."""
    by_repository = dict(name.rsplit("@", 1) for name in image.repo_digests if "@" in name)
    names = [split_tag(name) for name in image.repo_tags] or [(name, _NONE) for name in by_repository or [_NONE]]
    for repository, tag in names:
        digest = [by_repository.get(repository, _NONE)] if digests else []
        yield (repository, tag, *digest, output.short_id(image.id), output.size(image.size))


def split_tag(name: str) -> tuple[str, str]:
    """`host:5000/app:1` to (`host:5000/app`, `1`): a colon before the last slash belongs to a port."""
    repository, colon, tag = name.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (name, _NONE)
