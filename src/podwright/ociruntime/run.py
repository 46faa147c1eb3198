"""`run`: create and start; unless it is detached, wait for the end, delete, and end with the container's exit code."""

from __future__ import annotations

from podwright.base.errors import FailedPrecondition
from podwright.linux import syscalls
from podwright.ociruntime.arguments import Arguments
from podwright.ociruntime.attended import signals_held, wait
from podwright.ociruntime.base import Call, Program
from podwright.ociruntime.create import create
from podwright.ociruntime.delete import delete
from podwright.ociruntime.start import start


def run(call: Call, program: Program, arguments: Arguments) -> int:
    container_id = arguments.words[0]
    if arguments.on("detach"):
        create(call, program, arguments)
        try:
            start(call, program, container_id)
        except BaseException:
            delete(call, program, container_id, force=True)
            raise
        return 0
    if arguments.value("console-socket"):
        raise FailedPrecondition("run with a console socket needs --detach: nobody would carry the terminal here")
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    with signals_held():
        create(call, program, arguments)
        try:
            start(call, program, container_id)
            container = call.containers.read(container_id)
            return wait(container.record.pid, lambda number: program.kill(container, number, all_processes=False))
        finally:
            if not arguments.on("keep"):
                delete(call, program, container_id, force=True)
