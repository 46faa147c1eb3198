"""Attach: the streams of a container's first process, as its monitor hands them out."""

from __future__ import annotations

from podwright.base.errors import FailedPrecondition, InvalidArgument
from podwright.container.model import Container


def require_attachable(container: Container, *, terminal: bool) -> None:
    """Raises FailedPrecondition without a process (one that is created may be attached to before its start),
    InvalidArgument when the container has a terminal and `terminal` is False, or the other way round."""
    if container.finished or not container.record.created_at:
        raise FailedPrecondition(f"container {container.id[:13]} has no process: there is nothing to attach to")
    if terminal != container.config.tty:
        has = "has a terminal" if container.config.tty else "has no terminal"
        raise InvalidArgument(
            f"container {container.id[:13]} {has}: attach with tty={container.config.tty}", field="tty"
        )
