"""`kill`: a signal to the container's command, or with `--all` to all its processes. TERM unless told otherwise."""

from __future__ import annotations

from podwright.base.errors import FailedPrecondition
from podwright.ociruntime.arguments import Arguments
from podwright.ociruntime.base import Call, Program
from podwright.ociruntime.signals import parse_signal
from podwright.ociruntime.status import status


def run(call: Call, program: Program, arguments: Arguments) -> int:
    container_id, *name = arguments.words
    number = parse_signal(name[0] if name else "TERM")
    container, everybody = call.containers.read(container_id), arguments.on("all")
    found = status(container, program)
    if found == "creating" or (found == "stopped" and not everybody):
        raise FailedPrecondition(f"cannot kill container {container_id!r}: container not running, it is {found}")
    program.kill(container, number, all_processes=everybody)
    return 0
