"""ExecSync: a process in a running container, run to its end with bounded output.

It gets what the container's own process got (user, groups, capabilities, environment, directory): the process
part of the stored runtime specification, with the command replaced.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from podwright.base.errors import FailedPrecondition
from podwright.container.collaborators import Collaborators
from podwright.container.model import Container
from podwright.oci.runtime_spec import Process
from podwright.runtime.base import ExecRequest, ExecResult


class _OnlyProcess(msgspec.Struct):
    """The part of config.json that an exec needs; the rest is skipped, not decoded."""

    process: Process


_decoder = msgspec.json.Decoder(_OnlyProcess)


def require_running(container: Container) -> None:
    """Raises FailedPrecondition unless processes can be executed in the container."""
    if not container.running:
        raise FailedPrecondition(f"container {container.id[:13]} does not run: nothing can be executed in it")


async def exec_sync(
    on: Collaborators, container: Container, command: Sequence[str], timeout_s: float | None
) -> ExecResult:
    """Raises FailedPrecondition unless the container runs, CommandNotRunnable for a command that isn't there."""
    require_running(container)
    runtime = on.handlers.runtime(container.record.handler)
    return await runtime.exec_sync(
        ExecRequest(
            container_id=container.id,
            process=exec_process(on, container, command),
            timeout_s=timeout_s,
            drain_timeout_s=on.settings.exec_drain_s,
        )
    )


def exec_process(on: Collaborators, container: Container, command: Sequence[str]) -> Process:
    """The container's process with another command, without a terminal and without its OOM score."""
    stored = _decoder.decode((on.layout.bundle(container.id) / "config.json").read_bytes())
    return msgspec.structs.replace(stored.process, args=list(command), terminal=False, console_size=None)
