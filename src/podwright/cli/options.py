"""Options that several subcommands share, and what the global ones were."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from podwright.base.errors import InvalidArgument
from podwright.cri.settings import Settings

SOCKET_VARIABLE = "PODWRIGHT_SOCKET"


class Format(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"


@dataclass(frozen=True)
class Globals:
    """Options given before the subcommand."""

    socket: str | None = None


Socket = Annotated[str | None, typer.Option("--socket", metavar="PATH", help="The CRI socket of the daemon.")]
Output = Annotated[Format, typer.Option("--output", "-o", help="A table for people, or JSON for programs.")]


def socket_path(ctx: typer.Context, given: str | None) -> Path:
    """The socket to talk to: after the subcommand, before it, the environment, the default."""
    outer = ctx.find_object(Globals)
    text = given or (outer.socket if outer else None) or str(Settings().socket)
    scheme, colon, rest = text.partition(":")
    if colon and scheme in ("tcp", "http", "https", "npipe", "vsock"):
        raise InvalidArgument(f"a CRI socket is a path or unix://PATH, not {scheme}", field="--socket")
    return Path(rest.removeprefix("//") if colon and scheme == "unix" else text).absolute()
