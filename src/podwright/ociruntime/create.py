"""`create`: record, then the program's part, then what callers wait for. A failure takes all of it back."""

from __future__ import annotations

from pathlib import Path

from podwright.base.errors import InvalidArgument, PodwrightError
from podwright.base.files import write_atomic
from podwright.ociruntime import hooks
from podwright.ociruntime.arguments import Arguments
from podwright.ociruntime.base import Call, CreateRequest, Program
from podwright.ociruntime.bundle import Bundle
from podwright.ociruntime.record import Container
from podwright.ociruntime.status import state


def run(call: Call, program: Program, arguments: Arguments) -> int:
    create(call, program, arguments)
    return 0


def create(call: Call, program: Program, arguments: Arguments) -> None:
    """What `run` begins with as well."""
    (container_id,) = arguments.words
    bundle = Bundle(Path(arguments.value("bundle") or ".").absolute())
    request = CreateRequest(
        bundle, arguments.value("console-socket"), arguments.number("preserve-fds") or 0,
        no_pivot=arguments.on("no-pivot"), no_new_keyring=arguments.on("no-new-keyring"),
    )  # fmt: skip
    if bundle.spec.process.terminal != bool(request.console_socket):
        wanted = "a terminal (process.terminal)" if bundle.spec.process.terminal else "no terminal"
        raise InvalidArgument(f"the container wants {wanted}", field="--console-socket")
    hooks.check(bundle.spec)
    program.check(request)
    facts = {
        "bundle": str(bundle.path), "rootfs": str(bundle.rootfs.resolve()), "annotations": bundle.spec.annotations,
    }  # fmt: skip
    with call.containers.new(container_id, bundle.config, **facts) as container:
        try:
            container.set_process(program.create(container, request))
            for kind in ("prestart", "createRuntime"):
                hooks.run(bundle.spec, kind, state(container, "created"))
            if arguments.value("pid-file"):
                write_pid(arguments.value("pid-file"), container.record.pid)
        except BaseException:
            _take_back(call, program, container)
            raise


def write_pid(path: str, pid: int) -> None:
    """Whole or not at all: callers wait for the file, and read it at once."""
    try:
        write_atomic(Path(path), str(pid).encode(), mode=0o644)
    except OSError as error:
        raise InvalidArgument(f"{path} can't be written: {error.strerror}", field="--pid-file") from error


def _take_back(call: Call, program: Program, container: Container) -> None:
    """What can't be is left with its record, for `delete`."""
    try:
        program.delete(container)
        call.containers.forget(container)
    except (PodwrightError, OSError) as error:
        call.report.warning(f"the creation of {container.id} failed, and is not all taken back: {error}")
