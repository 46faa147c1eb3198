"""`podwright play`: run the pods of a Kubernetes manifest on this machine, without a cluster, or take them down."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from podwright.base.errors import InvalidArgument, NotFound
from podwright.cli import output
from podwright.cli.client import Client, connect
from podwright.cli.manifest.documents import read_manifest
from podwright.cli.manifest.model import Manifest
from podwright.cli.options import Socket
from podwright.cli.playing.directory import PodDirectory
from podwright.cli.playing.down import take_down
from podwright.cli.playing.host import look_around
from podwright.cli.playing.up import Play, bring_up

STATE_DIR = Path("/var/lib/podwright-play")


def play(
    ctx: typer.Context,
    manifest: Annotated[str, typer.Argument(metavar="POD.yaml", help="Pods and their ConfigMaps; - for stdin.")],
    *,
    down: Annotated[bool, typer.Option("--down", help="Stop and remove the pods and their volumes.")] = False,
    state_dir: Annotated[
        Path, typer.Option("--state-dir", metavar="DIR", help="Where volumes and logs lie.")
    ] = STATE_DIR,
    socket: Socket = None,
) -> None:
    """Run the pods of a Kubernetes manifest.

    Playing twice is harmless; --down stops and removes the pods and their volumes.
    """
    os.umask(0o022)  # what is in volumes must be readable for whoever the containers run as
    text = read(manifest)
    try:
        found = read_manifest(text)
    except InvalidArgument as error:
        raise InvalidArgument(f"{manifest}: {error}") from error
    with connect(ctx, socket) as client:
        if down:
            bring_all_down(client, found, state_dir)
        else:
            bring_all_up(client, found, state_dir, hashlib.sha256(text.encode()).hexdigest())


def read(name: str) -> str:
    """The manifest's text. Raises NotFound, InvalidArgument."""
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFound(f"no manifest {name}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{name} can't be read: {error}") from error


def bring_all_up(client: Client, manifest: Manifest, state_dir: Path, manifest_hash: str) -> None:
    """Bring up one pod after another; the first that fails ends it, and those before stay."""
    for warning in manifest.warnings:
        output.note(f"warning: {warning}")
    host = look_around()
    for pod in manifest.pods:
        directory = PodDirectory.of(state_dir, pod)
        ips = bring_up(client, Play(pod, manifest.config_maps_of(pod.namespace), manifest_hash, host, directory))
        where = ", ".join(ips) or "the host's network"
        output.print_line(f"pod {pod.full_name} is up at {where}")


def bring_all_down(client: Client, manifest: Manifest, state_dir: Path) -> None:
    """Take the pods down, the last first."""
    for pod in reversed(manifest.pods):
        gone = take_down(client, pod, PodDirectory.of(state_dir, pod))
        output.print_line(f"pod {pod.full_name} {'is down' if gone else 'was not there'}")
