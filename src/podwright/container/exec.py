"""Exec and ExecSync: a process in a running container, with somebody at its streams or with bounded output.

It gets what the container's own process got (user, groups, capabilities, environment, directory): the process
part of the stored runtime specification, with the command replaced.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import msgspec

from podwright.base.errors import FailedPrecondition
from podwright.base.streams import ProcessStreams, TerminalSize
from podwright.container.collaborators import Collaborators
from podwright.container.model import Container
from podwright.oci.runtime_spec import ConsoleSize, Process
from podwright.runtime.base import ExecRequest, ExecResult, InteractiveExec


class _OnlyProcess(msgspec.Struct):
    """The part of config.json that an exec needs; the rest is skipped, not decoded."""

    process: Process


_decoder = msgspec.json.Decoder(_OnlyProcess)

_FIRST_SIZE_S = 0.1
"""How long a process on a terminal waits for the terminal's size, which a client sends once its streams are open."""


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
    process = exec_process(on, container, command, terminal=terminal)
    if terminal and streams.sizes is not None and (size := await _first_size(streams.sizes)) is not None:
        process.console_size = ConsoleSize(height=size.height, width=size.width)
        streams = replace(streams, sizes=_beginning_with(size, streams.sizes))
    return await runtime.exec(
        InteractiveExec(
            container_id=container.id,
            process=process,
            streams=streams,
            drain_timeout_s=on.settings.exec_drain_s,
            hangup_timeout_s=hangup_s if hangup_s >= 0 else None,
        )
    )


async def _first_size(sizes: AsyncIterator[TerminalSize]) -> TerminalSize | None:
    """None where it does not come soon: then it is set on the terminal of a process that runs."""
    try:
        async with asyncio.timeout(_FIRST_SIZE_S):
            return await anext(sizes)
    except (TimeoutError, StopAsyncIteration):
        return None


async def _beginning_with(first: TerminalSize, others: AsyncIterator[TerminalSize]) -> AsyncIterator[TerminalSize]:
    """All sizes, for what does not read process.consoleSize."""
    yield first
    async for size in others:
        yield size


def exec_process(on: Collaborators, container: Container, command: Sequence[str], *, terminal: bool = False) -> Process:
    """The container's process with another command, with a terminal of its own or none."""
    stored = _decoder.decode((on.layout.bundle(container.id) / "config.json").read_bytes()).process
    environment = stored.env
    if terminal and not any(variable.startswith("TERM=") for variable in environment):
        environment = [*environment, "TERM=xterm"]
    return msgspec.structs.replace(stored, args=list(command), env=environment, terminal=terminal, console_size=None)
