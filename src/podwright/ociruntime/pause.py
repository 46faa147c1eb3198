"""`pause` and `resume`."""

from __future__ import annotations

from podwright.ociruntime.arguments import Arguments
from podwright.ociruntime.base import Call, Program
from podwright.ociruntime.status import require


def run(call: Call, program: Program, arguments: Arguments) -> int:
    with call.containers.locked(arguments.words[0]) as container:
        require(container, program, "pause", "running")
        program.pause(container)
    return 0


def resume(call: Call, program: Program, arguments: Arguments) -> int:
    with call.containers.locked(arguments.words[0]) as container:
        require(container, program, "resume", "paused")
        program.resume(container)
    return 0
