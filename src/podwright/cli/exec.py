"""`podwright exec`: run a command in a container, give back its output and its exit code."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from podwright.base.errors import Unimplemented
from podwright.cli.client import connect
from podwright.cli.lookup import find_container
from podwright.cli.options import Socket
from podwright.criapi import api_pb2 as pb

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
    if interactive or tty:
        raise Unimplemented(
            "exec with a terminal or input (-i, -t) isn't there yet: it comes with the streaming server; until then,"
            " leave the options out to run a command that needs neither"
        )
    with connect(ctx, socket) as client:
        request = pb.ExecSyncRequest(container_id=find_container(client, container).id, cmd=command, timeout=timeout)
        answer = client.runtime.ExecSync(request, timeout=timeout + _MARGIN_S if timeout else None)
    sys.stdout.buffer.write(answer.stdout)
    sys.stdout.buffer.flush()
    sys.stderr.buffer.write(answer.stderr)
    # The shell's view of an exit status is one byte; a runtime may say -1 for a lost one.
    raise typer.Exit(answer.exit_code & 0xFF)
