"""Attach: the streams of a container's first process, as its monitor hands them out."""

from __future__ import annotations

from podwright.base.errors import FailedPrecondition, InvalidArgument
from podwright.base.streams import ProcessStreams
from podwright.container.collaborators import Collaborators
from podwright.container.exits import monitored
from podwright.container.model import Container


def require_process(container: Container) -> None:
    """Raises FailedPrecondition without one; what is created has one and may be attached to before its start."""
    if container.finished or container.process is None:
        raise FailedPrecondition(f"container {container.id[:13]} has no process: there is nothing to attach to")


def require_attachable(container: Container, *, terminal: bool) -> None:
    """Raises FailedPrecondition without a process, InvalidArgument when the container's having a terminal is not what
    `terminal` says."""
    require_process(container)
    if terminal != container.config.tty:
        has = "has a terminal" if container.config.tty else "has no terminal"
        raise InvalidArgument(
            f"container {container.id[:13]} {has}: attach with tty={container.config.tty}", field="tty"
        )


async def attach(on: Collaborators, container: Container, streams: ProcessStreams) -> None:
    """Until the container ends or the client goes away. Raises FailedPrecondition, ResourceExhausted (too slow)."""
    require_process(container)
    config = container.config
    await on.monitor.attach(monitored(on, container), streams, stdin=config.stdin, stdin_once=config.stdin_once)
