"""`start`: let the container's process execute its command."""

from __future__ import annotations

from podwright.base.errors import PodwrightError
from podwright.ociruntime import hooks
from podwright.ociruntime.arguments import Arguments
from podwright.ociruntime.base import Call, Program
from podwright.ociruntime.record import now
from podwright.ociruntime.status import require, state


def run(call: Call, program: Program, arguments: Arguments) -> int:
    start(call, program, arguments.words[0])
    return 0


def start(call: Call, program: Program, container_id: str) -> None:
    """What `run` goes on with as well."""
    with call.containers.locked(container_id) as container:
        require(container, program, "start", "created")
        program.start(container)
        container.record.started = now()
        container.save()
        try:
            hooks.run(container.spec, "poststart", state(container, "running"))
        except PodwrightError as error:
            call.report.warning(f"{error}")  # runtime.md, Lifecycle: the container goes on
