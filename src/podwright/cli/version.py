"""`podwright version`: our version, and that of the runtime at the other end of the socket."""

from __future__ import annotations

import typer

from podwright import __version__
from podwright.base.errors import PodwrightError
from podwright.cli import output
from podwright.cli.client import QUICK_S, connect
from podwright.cli.options import Format, Output, Socket
from podwright.criapi import api_pb2 as pb


def version(ctx: typer.Context, *, output_format: Output = Format.TABLE, socket: Socket = None) -> None:
    """Show our version and the runtime's."""
    server, problem = None, ""
    try:
        with connect(ctx, socket) as client:
            server = client.runtime.Version(pb.VersionRequest(), timeout=QUICK_S)
    except PodwrightError as error:
        # Our own version is an answer, too: a daemon that doesn't run is no reason to fail.
        problem = str(error)
    if output_format is Format.JSON:
        output.print_json({"client": __version__, "server": output.as_dict(server) if server else None})
        return
    output.print_line(f"podwright {__version__}")
    if server:
        output.print_line(f"runtime {server.runtime_name} {server.runtime_version} (CRI {server.runtime_api_version})")
    else:
        output.note(problem)
