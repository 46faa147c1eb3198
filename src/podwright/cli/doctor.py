"""`podwright doctor`: whether this machine can run pods; what is missing, and how to mend it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from podwright.base import log
from podwright.cgroup.detect import hierarchies, naming
from podwright.cli import output
from podwright.cli.checks import cgroups, daemon, engine, kernel, network, programs, storage
from podwright.cli.checks.finding import Finding, Level, fail
from podwright.cli.options import Format, Globals, Output, Socket
from podwright.config import files
from podwright.config.files import ConfigError
from podwright.config.schema import Config


def doctor(
    ctx: typer.Context,
    *,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="The configuration.")] = None,
    root: Annotated[Path | None, typer.Option("--root", metavar="DIR", help="The daemon's root directory.")] = None,
    output_format: Output = Format.TABLE,
    socket: Socket = None,
) -> None:
    """Check whether this machine can run pods.

    Each finding says how to mend it; the exit code is 1 if something failed.
    """
    # The rooms that are asked may log; what they have to say comes back as findings.
    log.configure("error")
    overrides: dict[str, object] = {"state.root": root.absolute()} if root else {}
    outer = ctx.find_object(Globals)
    try:
        settings = files.load(config, overrides)
        found = list(examine(ctx, settings, socket or (outer.socket if outer else None)))
    except ConfigError as error:
        found = [fail("configuration", str(error), "mend the file; `podwright config check` checks it")]
    if output_format is Format.JSON:
        output.print_json([dataclasses.asdict(finding) for finding in found])
    else:
        show(found)
    if any(finding.level is Level.FAIL for finding in found):
        raise typer.Exit(1)


def examine(ctx: typer.Context, config: Config, socket: str | None) -> Iterator[Finding]:
    """All checks."""
    yield from kernel.findings()
    yield from cgroups.findings(config.cgroup)
    if config.backend == "docker":
        yield from engine.findings(config.docker.socket, naming(config.cgroup, hierarchies().version))
        yield from programs.beside_an_engine()
    else:
        yield from programs.findings(config)
    yield from network.findings(config.network)
    yield from storage.findings(config.state.root)
    yield from daemon.findings(ctx, socket or str(config.server.socket))


def show(found: list[Finding]) -> None:
    """The report for people: a line for each finding, and below it how to mend it."""
    rows = []
    for finding in found:
        rows.append((finding.level.value, finding.check, finding.message))
        if finding.mend:
            rows.append(("", "", f"→ {finding.mend}"))
    output.print_table(["STATE", "CHECK", "FINDING"], rows, states=["STATE"])
    failed = sum(finding.level is Level.FAIL for finding in found)
    warned = sum(finding.level is Level.WARN for finding in found)
    output.print_line(f"{len(found)} checks: {failed} failed, {warned} warnings")
