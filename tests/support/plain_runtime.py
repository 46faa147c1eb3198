"""An OCI runtime without any isolation: containers are processes. It drives `ociruntime.front`."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from podwright.base.errors import FailedPrecondition, Unimplemented
from podwright.linux.fork import Ready, fork
from podwright.linux.pidfd import ProcessIdentity, open_pidfd, send_signal
from podwright.oci.events import Stats
from podwright.oci.runtime_spec import LinuxResources, Process
from podwright.ociruntime import console, front
from podwright.ociruntime.base import Call, CreateRequest, ExecRequest, Identity, ProcessRow
from podwright.ociruntime.record import Container


class PlainProgram:
    """Implements `ociruntime.base.Program`. A container waits for a line in a fifo of its directory."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def features(self) -> Mapping[str, Any]:
        return {"mountOptions": []}

    def check(self, request: CreateRequest) -> None:
        if request.bundle.spec.hostname:
            raise Unimplemented("hostname is not supported")

    def create(self, container: Container, request: CreateRequest) -> int:
        gate = container.directory / "gate"
        os.mkfifo(gate)
        container.details["gate"] = True
        container.save()
        terminal = console.connect(request.console_socket) if request.console_socket else None

        def wait(ready: Ready) -> None:
            if terminal is not None:
                manager, theirs = os.openpty()
                console.send(terminal, manager, os.ttyname(theirs))
                os.login_tty(theirs)
            if "fail" in request.bundle.spec.annotations:
                raise FailedPrecondition("it was told to fail")
            ready(b"")
            os.open(gate, os.O_RDONLY)
            _execute(request.bundle.spec.process)

        keep = () if terminal is None else (terminal.fileno(),)
        return fork(wait, keep=keep, new_session=terminal is None)[0]

    def start(self, container: Container) -> None:
        os.close(os.open(container.directory / "gate", os.O_WRONLY))

    def paused(self, container: Container) -> bool:
        return (container.directory / "paused").exists()

    def kill(self, container: Container, signal: int, *, all_processes: bool) -> None:
        if container.process is not None:
            send_signal(container.process, signal)

    def delete(self, container: Container) -> None:
        if (process := container.process) is not None:
            send_signal(process, signal.SIGKILL)
            _await_end(process)

    def exec(self, container: Container, request: ExecRequest) -> int:
        return fork(lambda _ready: _execute(request.process))[0]

    def pause(self, container: Container) -> None:
        (container.directory / "paused").touch()

    def resume(self, container: Container) -> None:
        (container.directory / "paused").unlink()

    def update(self, container: Container, resources: LinuxResources) -> None:
        container.details["memory"] = resources.memory.limit if resources.memory else None
        container.save()

    def processes(self, container: Container) -> Sequence[ProcessRow]:
        return [ProcessRow(container.record.pid, 1, os.getuid(), "it")]

    def stats(self, container: Container) -> Stats:
        return Stats()

    def oom_kills(self, container: Container) -> int:
        return 0


def _execute(process: Process) -> None:
    os.execvpe(process.args[0], process.args, dict(pair.split("=", 1) for pair in process.env))


def _await_end(process: ProcessIdentity) -> None:
    """It is no child of this process; its end is a readable pidfd."""
    pidfd = open_pidfd(process)
    if pidfd is not None:
        select.select([pidfd], [], [])
        os.close(pidfd)


IDENTITY = Identity("plain", "1", Path("/nonexistent"), PlainProgram)

if __name__ == "__main__":
    raise SystemExit(front.main(IDENTITY))
