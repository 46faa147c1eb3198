"""`podwright exec`: run a command in a container, connected to our terminal or pipes, and end as it ended."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from podwright.base.errors import InvalidArgument
from podwright.cli.client import QUICK_S, connect
from podwright.cli.lookup import find_container
from podwright.cli.options import Socket
from podwright.cli.remote import connect_streams, wanted_streams
from podwright.criapi import api_pb2 as pb
from podwright.streaming.base import Wanted

# Beside the command's own time-out: what the runtime may need to kill it.
_MARGIN_S = 30


def exec_command(
    ctx: typer.Context,
    container: Annotated[str, typer.Argument(help="Id, prefix of an id, name, or POD/NAME.")],
    command: Annotated[list[str], typer.Argument(metavar="COMMAND [ARG]...", help="What to run.")],
    *,
    interactive: Annotated[bool, typer.Option("--stdin", "-i", help="Give the command our input.")] = False,
    tty: Annotated[bool, typer.Option("--tty", "-t", help="Give the command a terminal.")] = False,
    timeout: Annotated[int, typer.Option("--timeout", min=0, help="Kill it after so many seconds; 0: never.")] = 0,
    socket: Socket = None,
) -> None:
    """Run a command in a container.

    Exits with the command's exit code.
    """
    if timeout and (interactive or tty):
        raise InvalidArgument("is for commands without -i and -t: those end when you do", field="--timeout")
    if timeout:
        code = _sync(ctx, socket, container, command, timeout)
    else:
        code = _stream(ctx, socket, container, command, wanted_streams(interactive=interactive, terminal=tty))
    # The shell's view of an exit status is one byte; a runtime may say -1 for a lost one.
    raise typer.Exit(code & 0xFF)


def _sync(ctx: typer.Context, socket: str | None, container: str, command: list[str], timeout: int) -> int:
    """With a time-out: the runtime kills the command, and gives its output at the end."""
    with connect(ctx, socket) as client:
        request = pb.ExecSyncRequest(container_id=find_container(client, container).id, cmd=command, timeout=timeout)
        answer = client.runtime.ExecSync(request, timeout=timeout + _MARGIN_S)
    sys.stdout.buffer.write(answer.stdout)
    sys.stdout.buffer.flush()
    sys.stderr.buffer.write(answer.stderr)
    return answer.exit_code


def _stream(ctx: typer.Context, socket: str | None, container: str, command: list[str], wanted: Wanted) -> int:
    """Output as it comes, and as much as there is."""
    with connect(ctx, socket) as client:
        request = pb.ExecRequest(
            container_id=find_container(client, container).id, cmd=command,
            tty=wanted.terminal, stdin=wanted.stdin, stdout=wanted.stdout, stderr=wanted.stderr,
        )  # fmt: skip
        url = client.runtime.Exec(request, timeout=QUICK_S).url
    return connect_streams(url, wanted)
