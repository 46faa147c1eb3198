"""`podwright attach`: connect our terminal or pipes to a container's own process."""

from __future__ import annotations

from typing import Annotated

import typer

from podwright.cli.client import QUICK_S, connect
from podwright.cli.lookup import find_container
from podwright.cli.options import Socket
from podwright.cli.remote import connect_streams, wanted_streams
from podwright.criapi import api_pb2 as pb


def attach(
    ctx: typer.Context,
    container: Annotated[str, typer.Argument(help="Id, prefix of an id, name, or POD/NAME.")],
    *,
    interactive: Annotated[bool, typer.Option("--stdin", "-i", help="Give the container our input.")] = False,
    tty: Annotated[bool, typer.Option("--tty", "-t", help="The container has a terminal: use ours for it.")] = False,
    socket: Socket = None,
) -> None:
    """Connect to a running container's output, and with -i to its input.

    Shows what it writes from now on (`podwright logs` has the rest), until the container ends or you interrupt.
    """
    wanted = wanted_streams(interactive=interactive, terminal=tty)
    with connect(ctx, socket) as client:
        request = pb.AttachRequest(
            container_id=find_container(client, container).id,
            tty=wanted.terminal, stdin=wanted.stdin, stdout=wanted.stdout, stderr=wanted.stderr,
        )  # fmt: skip
        url = client.runtime.Attach(request, timeout=QUICK_S).url
    connect_streams(url, wanted)
