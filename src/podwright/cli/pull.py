"""`podwright pull`: pull an image, with a bar for each layer where the runtime tells.

The CRI has no words for progress. Podwright's own service does; at any other runtime's socket a spinner says that
something goes on. Bars and spinner go to stderr, the image's reference to stdout.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable
from typing import Annotated

import grpc
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from podwright.base.errors import InvalidArgument
from podwright.cli import output
from podwright.cli.client import Client, connect, is_code, translate
from podwright.cli.options import Socket
from podwright.criapi import api_pb2 as pb
from podwright.criapi import podwright_pb2 as own

_LAST_EVENT_S = 0.5

_WORDS = {
    own.LayerProgress.WAITING: "waiting",
    own.LayerProgress.FETCHING: "fetching",
    own.LayerProgress.UNPACKING: "unpacking",
    own.LayerProgress.DONE: "done",
    own.LayerProgress.EXISTS: "already here",
}


def pull(
    ctx: typer.Context,
    image: Annotated[str, typer.Argument(help="What to pull, e.g. docker.io/library/busybox:1.36.")],
    *,
    username: Annotated[str | None, typer.Option("--username", "-u", help="Log in to the registry as.")] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
    socket: Socket = None,
) -> None:
    """Pull an image."""
    request = pb.PullImageRequest(image=pb.ImageSpec(image=image))
    if username is not None:
        request.auth.username, request.auth.password = username, read_password(from_stdin=password_stdin)
    elif password_stdin:
        raise InvalidArgument("--password-stdin needs --username")
    with connect(ctx, socket) as client:
        reference = pull_image(client, request, quiet=quiet)
    output.print_line(reference)


def read_password(*, from_stdin: bool) -> str:
    """The password: one line of stdin, the variable PODWRIGHT_PASSWORD, or asked for at the terminal."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    given = os.environ.get("PODWRIGHT_PASSWORD")
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise InvalidArgument("no password: give --password-stdin, or set PODWRIGHT_PASSWORD")
    asked: str = typer.prompt("Password", hide_input=True, err=True)
    return asked


def pull_image(client: Client, request: pb.PullImageRequest, *, quiet: bool = False) -> str:
    """Pull, showing how far it is; returns the image's reference. An interrupt cancels the pull."""
    call = client.image.PullImage.future(request, timeout=None)
    console = Console(stderr=True, highlight=False, quiet=quiet)
    try:
        if console.is_terminal and not quiet:
            watch(client, request.image.image, call, console)
        return call.result().image_ref
    except BaseException:
        call.cancel()  # type: ignore[no-untyped-call]
        raise


def watch(client: Client, image: str, call: grpc.CallFuture[pb.PullImageResponse], console: Console) -> None:
    """Show bars until the pull is over; a spinner where the runtime doesn't tell its progress."""
    progress = client.podwright.PullProgress(own.PullProgressRequest(image=image), timeout=None)
    # A pull can end without the other stream noticing (a failure before it began): then it isn't waited for long.
    call.add_done_callback(lambda _: end_soon(progress))
    try:
        draw(progress, console)
    except grpc.RpcError as error:
        if is_code(error, grpc.StatusCode.UNIMPLEMENTED):
            with console.status(f"pulling {output.clean(image)}"):
                wait(call)
        elif not is_code(error, grpc.StatusCode.CANCELLED):
            console.print(f"no progress to show: {translate(error, client.socket)}", markup=False)


def end_soon(progress: grpc.CallIterator[own.PullProgressEvent]) -> None:
    """Cancel the stream, after a moment for its last event."""
    timer = threading.Timer(_LAST_EVENT_S, progress.cancel)
    timer.daemon = True
    timer.start()


def wait(call: grpc.CallFuture[pb.PullImageResponse]) -> None:
    """Wait for the end of a pull, however it ends; its result is somebody else's to look at."""
    call.exception()


def draw(events: Iterable[own.PullProgressEvent], console: Console) -> None:
    """A bar for each layer, until the events end."""
    bars: dict[str, TaskID] = {}
    with Progress(
        TextColumn("{task.fields[digest]}"), TextColumn("{task.description}", style="dim"), BarColumn(),
        DownloadColumn(), TransferSpeedColumn(), console=console,
    ) as progress:  # fmt: skip
        for event in events:
            for layer in event.layers:
                if layer.digest not in bars:
                    bars[layer.digest] = progress.add_task("", digest=output.short_id(layer.digest), total=None)
                update(progress, bars[layer.digest], layer)
            if event.finished:
                return


def update(progress: Progress, bar: TaskID, layer: own.LayerProgress) -> None:
    """Bring one bar up to date."""
    settled = layer.phase in (own.LayerProgress.DONE, own.LayerProgress.EXISTS)
    progress.update(
        bar,
        description=_WORDS.get(layer.phase, ""),
        total=layer.bytes_total or None,
        completed=layer.bytes_total if settled else layer.bytes_done,
    )
