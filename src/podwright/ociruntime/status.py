"""The state of a container, from facts. OCI runtime specification, runtime.md, "State"."""

from __future__ import annotations

from typing import Any

from podwright.base.errors import FailedPrecondition
from podwright.oci.runtime_spec import OCI_VERSION
from podwright.ociruntime.base import Program
from podwright.ociruntime.record import Container


def status(container: Container, program: Program) -> str:
    """creating, created, running, paused or stopped."""
    if container.process is None:
        return "creating" if not container.record.pid and container.under_way else "stopped"
    if not container.record.started:
        return "created"
    return "paused" if program.paused(container) else "running"


def require(container: Container, program: Program, verb: str, *allowed: str) -> str:
    """The status, which has to be one of `allowed`. Raises FailedPrecondition."""
    found = status(container, program)
    if found not in allowed:
        raise FailedPrecondition(f"cannot {verb} container {container.id!r}: it is {found}, not {' or '.join(allowed)}")
    return found


def state(container: Container, found: str) -> dict[str, Any]:
    """The document; `rootfs` and `created` are runc's additions."""
    record = container.record
    return {
        "ociVersion": OCI_VERSION,
        "id": record.id,
        "pid": 0 if found in ("stopped", "creating") else record.pid,
        "status": found,
        "bundle": record.bundle,
        "rootfs": record.rootfs,
        "created": record.created,
        "annotations": record.annotations,
        "owner": "",
    }
