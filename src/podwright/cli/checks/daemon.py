"""The daemon: whether one answers at the socket, and whether it says it is ready."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import typer

from podwright.base.errors import PodwrightError
from podwright.cli.checks.finding import Finding, fail, ok, warn
from podwright.cli.client import connect
from podwright.criapi import api_pb2 as pb

_TIMEOUT_S = 5.0


def findings(ctx: typer.Context, socket: str | None) -> Iterator[Finding]:
    """Ask it. A daemon that doesn't run is a warning only: doctor is also for the time before it is started."""
    try:
        with connect(ctx, socket) as client:
            version = client.runtime.Version(pb.VersionRequest(), timeout=_TIMEOUT_S)
            status = client.runtime.Status(pb.StatusRequest(), timeout=_TIMEOUT_S)
            yield ok("daemon", f"{version.runtime_name} {version.runtime_version} answers at {client.socket}")
            yield from map(condition, status.status.conditions)
    except PodwrightError as error:
        yield warn("daemon", str(error))
    except grpc.RpcError as error:
        yield warn("daemon", str(error))


def condition(item: pb.RuntimeCondition) -> Finding:
    """A condition of Status."""
    if item.status:
        return ok(item.type, "yes")
    words = ": ".join(part for part in (item.reason, item.message) if part)
    return fail(item.type, words or "no", "see the daemon's log")
