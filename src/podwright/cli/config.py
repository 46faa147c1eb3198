"""`podwright config`: the configuration's defaults, what is in force, and whether the files are right."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from podwright.cli import output

application = typer.Typer(no_args_is_help=True, help="Show and check the daemon's configuration.")

File = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Instead of the default file.")]


@application.command()
def default() -> None:
    """Print a commented configuration file that holds every default."""
    from podwright.config.schema import default_toml

    typer.echo(default_toml(), nl=False)


@application.command()
def show(*, config: File = None) -> None:
    """Print the configuration in force: defaults, file, drop-ins and environment together."""
    from podwright.config import files, schema

    typer.echo(schema.to_toml(files.load(config, {})), nl=False)


@application.command()
def check(*, config: File = None) -> None:
    """Say whether the configuration files are right; if not, what is wrong and where."""
    from podwright.config import files

    files.load(config, {})
    output.print_line("the configuration is right")
