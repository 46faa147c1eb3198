"""`delete`: take down what is left of a container, and forget it."""

from __future__ import annotations

from podwright.base.errors import NotFound, PodwrightError
from podwright.ociruntime import hooks
from podwright.ociruntime.arguments import Arguments
from podwright.ociruntime.base import Call, Program
from podwright.ociruntime.record import Container
from podwright.ociruntime.status import require, state


def run(call: Call, program: Program, arguments: Arguments) -> int:
    delete(call, program, arguments.words[0], force=arguments.on("force"))
    return 0


def delete(call: Call, program: Program, container_id: str, *, force: bool) -> None:
    """By force also one that runs, and one that is not there. Raises FailedPrecondition, NotFound."""
    try:
        with call.containers.locked(container_id) as container:
            if not force:
                require(container, program, "delete", "stopped", "created")
            program.delete(container)
            _poststop(call, container)
            call.containers.forget(container)
    except NotFound:
        if not force:
            raise


def _poststop(call: Call, container: Container) -> None:
    """A failure is told, and stops nothing: runtime.md, Lifecycle."""
    try:
        hooks.run(container.spec, "poststop", state(container, "stopped"))
    except (PodwrightError, OSError, ValueError) as error:
        call.report.warning(f"after the end of {container.id}: {error}")
