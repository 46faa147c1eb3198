"""Exec and ExecSync: a process in a running container, with somebody at its streams or with bounded output.

It gets what the container's own process got (user, groups, capabilities, environment, directory): the process
part of the stored runtime specification, with the command replaced.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from podwright.base.errors import FailedPrecondition
from podwright.base.streams import ProcessStreams
from podwright.container.collaborators import Collaborators
from podwright.container.model import Container
from podwright.oci.runtime_spec import Process
from podwright.runtime.base import ExecRequest, ExecResult, InteractiveExec


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


async def exec_interactive(
    on: Collaborators, container: Container, command: Sequence[str], *, terminal: bool, streams: ProcessStreams
) -> int:
    """The exit code. Raises what `exec_sync` raises."""
    require_running(container)
    runtime = on.handlers.runtime(container.record.handler)
    hangup_s = on.settings.exec_hangup_s
    return await runtime.exec(
        InteractiveExec(
            container_id=container.id,
            process=exec_process(on, container, command, terminal=terminal),
            streams=streams,
            drain_timeout_s=on.settings.exec_drain_s,
            hangup_timeout_s=hangup_s if hangup_s >= 0 else None,
        )
    )


def exec_process(on: Collaborators, container: Container, command: Sequence[str], *, terminal: bool = False) -> Process:
    """The container's process with another command, with a terminal of its own or none."""
    stored = _decoder.decode((on.layout.bundle(container.id) / "config.json").read_bytes()).process
    environment = stored.env
    if terminal and not any(variable.startswith("TERM=") for variable in environment):
        environment = [*environment, "TERM=xterm"]
    return msgspec.structs.replace(stored, args=list(command), env=environment, terminal=terminal, console_size=None)
