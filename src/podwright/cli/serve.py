"""`podwright serve`: run the daemon in the foreground, until a signal."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from podwright.cli.options import Globals


class BackendKind(StrEnum):
    """Who runs containers."""

    NATIVE = "native"
    DOCKER = "docker"


class LogLevel(StrEnum):
    """The least level that is logged."""

    TRACE = "trace"
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def serve(
    ctx: typer.Context,
    *,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="The configuration.")] = None,
    root: Annotated[Path | None, typer.Option("--root", metavar="DIR", help="What outlives a boot.")] = None,
    run: Annotated[Path | None, typer.Option("--run", metavar="DIR", help="What a boot clears.")] = None,
    socket: Annotated[str | None, typer.Option("--socket", metavar="PATH", help="Where to listen.")] = None,
    cni_conf_dir: Annotated[
        Path | None, typer.Option("--cni-conf-dir", metavar="DIR", help="CNI configuration.")
    ] = None,
    backend: Annotated[BackendKind | None, typer.Option("--backend", help="Who runs containers.")] = None,
    log_level: Annotated[LogLevel | None, typer.Option("--log-level", help="The least level logged.")] = None,
) -> None:
    """Run the daemon.

    Options win over the configuration file.
    """
    from podwright import daemon
    from podwright.config import files

    outer = ctx.find_object(Globals)
    socket = socket or (outer.socket if outer else None)
    given: dict[str, Path | str | None] = {
        "state.root": absolute(root),
        "state.run": absolute(run),
        "server.socket": absolute(Path(socket.removeprefix("unix://"))) if socket else None,
        "network.conf_dir": absolute(cni_conf_dir),
        "backend": backend.value if backend else None,
        "telemetry.log_level": log_level.value if log_level else None,
    }
    overrides: dict[str, object] = {key: value for key, value in given.items() if value is not None}
    raise typer.Exit(daemon.serve(files.load(config, overrides)))


def absolute(path: Path | None) -> Path | None:
    """A path as the daemon needs it: it may change its directory."""
    return None if path is None else path.absolute()
