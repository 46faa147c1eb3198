"""`podwright status`: whether the runtime is ready, and what it can do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import typer

from podwright.cli import output
from podwright.cli.client import QUICK_S, connect
from podwright.cli.inspect import parsed_info
from podwright.cli.options import Format, Output, Socket
from podwright.criapi import api_pb2 as pb


def status(ctx: typer.Context, *, output_format: Output = Format.TABLE, socket: Socket = None) -> None:
    """Show whether the runtime is ready, and what it can do."""
    with connect(ctx, socket) as client:
        version = client.runtime.Version(pb.VersionRequest(), timeout=QUICK_S)
        answer = client.runtime.Status(pb.StatusRequest(verbose=True), timeout=QUICK_S)
    if output_format is Format.JSON:
        shown = output.as_dict(answer)
        output.print_json(shown | {"info": parsed_info(answer.info)})
    else:
        output.print_line(f"{version.runtime_name} {version.runtime_version} (CRI {version.runtime_api_version})")
        output.print_table(
            ["CONDITION", "STATE", "REASON"], [condition(c) for c in answer.status.conditions], states=["STATE"]
        )
        for line in abilities(answer):
            output.print_line(line)
    if not all(c.status for c in answer.status.conditions if c.type in ("RuntimeReady", "NetworkReady")):
        raise typer.Exit(1)


def condition(item: pb.RuntimeCondition) -> Sequence[str]:
    """A condition's line of the table."""
    state = "ok" if item.status else "fail"
    return (item.type, state, ": ".join(part for part in (item.reason, item.message) if part))


def abilities(answer: pb.StatusResponse) -> Iterator[str]:
    """Lines about handlers and features."""
    for handler in answer.runtime_handlers:
        able = [field.name.replace("_", " ") for field, value in handler.features.ListFields() if value]
        yield f"handler {handler.name or '(default)'}: {', '.join(able) or 'no optional features'}"
    able = [field.name.replace("_", " ") for field, value in answer.features.ListFields() if value]
    if able:
        yield f"features: {', '.join(able)}"
