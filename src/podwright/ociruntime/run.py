"""`run`: create and start; unless it is detached, wait for the end, delete, and end with the container's exit code."""

from __future__ import annotations

from podwright.base.errors import FailedPrecondition
from podwright.linux import syscalls
from podwright.ociruntime.arguments import Arguments
from podwright.ociruntime.attended import wait
from podwright.ociruntime.base import Call, Program
from podwright.ociruntime.create import create
from podwright.ociruntime.delete import delete
from podwright.ociruntime.start import start


def run(call: Call, program: Program, arguments: Arguments) -> int:
    container_id, attended = arguments.words[0], not arguments.on("detach")
    if attended and arguments.value("console-socket"):
        raise FailedPrecondition("run with a console socket needs --detach: nobody would carry the terminal here")
    if attended:
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    create(call, program, arguments)
    try:
        start(call, program, container_id)
        if not attended:
            return 0
        return wait(call.containers.read(container_id).record.pid)
    finally:
        if attended and not arguments.on("keep"):
            delete(call, program, container_id, force=True)
