"""Puts the command line together. Only the subcommand that is asked for gets imported.

gRPC, rich and YAML cost a tenth of a second each; `podwright ps` shouldn't pay for `podwright play`. So the
subcommand's name is looked up in argv before typer sees it, and the other modules are left alone. Help and shell
completion need all of them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

from podwright.cli.options import SOCKET_VARIABLE, Globals

# Subcommands in the order of `podwright --help`: name → (module, function), or (module, sub-application).
COMMANDS: dict[str, tuple[str, str]] = {
    "pods": ("pods", "pods"),
    "ps": ("ps", "ps"),
    "images": ("images", "images"),
    "pull": ("pull", "pull"),
    "play": ("play", "play"),
    "explain": ("explain", "explain"),
    "exec": ("exec", "exec_command"),
    "attach": ("attach", "attach"),
    "port-forward": ("port_forward", "port_forward"),
    "logs": ("logs", "logs"),
    "inspect": ("inspect", "inspect"),
    "stats": ("stats", "stats"),
    "events": ("events", "events"),
    "stop": ("stop", "stop"),
    "rm": ("rm", "rm"),
    "rmi": ("rmi", "rmi"),
    "image": ("image", "application"),
    "status": ("status", "status"),
    "runtime": ("runtime", "application"),
    "doctor": ("doctor", "doctor"),
    "serve": ("serve", "serve"),
    "config": ("config", "application"),
    "version": ("version", "version"),
}

# A command line that is passed on starts at the first word that isn't an option of ours.
_PASSED_ON: dict[str, object] = {"allow_interspersed_args": False, "ignore_unknown_options": True}
_SETTINGS: dict[str, dict[str, object]] = {"exec": _PASSED_ON}


def build(argv: Sequence[str]) -> typer.Typer:
    """The application, with the one subcommand that `argv` names, or with all."""
    application = typer.Typer(
        name="podwright",
        help="A Kubernetes container runtime, and a client for any CRI runtime's socket.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    application.callback()(root)
    wanted = subcommand(argv)
    for name in [wanted] if wanted in COMMANDS else COMMANDS:
        module, attribute = COMMANDS[name]
        target = getattr(import_module(f"podwright.cli.{module}"), attribute)
        if isinstance(target, typer.Typer):
            application.add_typer(target, name=name)
        else:
            application.command(name, context_settings=dict(_SETTINGS.get(name, {})))(target)
    return application


def root(
    ctx: typer.Context,
    socket: Annotated[
        str | None,
        typer.Option("--socket", metavar="PATH", envvar=SOCKET_VARIABLE, help="The CRI socket of the daemon."),
    ] = None,
) -> None:
    """The options that come before the subcommand."""
    ctx.obj = Globals(socket=socket)


def subcommand(argv: Sequence[str]) -> str:
    """The first word of `argv` that is neither a global option nor its value; empty if there is none."""
    if "_PODWRIGHT_COMPLETE" in os.environ:
        return ""
    words = iter(argv)
    for word in words:
        if word == "--socket":
            next(words, None)
        elif not word.startswith("-"):
            return word
        elif not word.startswith("--socket="):
            return ""
    return ""
