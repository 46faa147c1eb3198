"""Removing a container from its shim, whatever state either is in; the shim ends with its last container."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from podwright.base.errors import DeadlineExceeded, FailedPrecondition, NotFound, PodwrightError
from podwright.base.log import get_logger
from podwright.shim.shims import Shims
from podwright.shim.task import Task
from podwright.ttrpc.errors import ConnectionLost

log = get_logger(__name__)

_KILLED_S = 10.0


async def take_down(shims: Shims, container_id: str) -> None:
    """Kill a container and let its shim forget it; one whose shim is dead is cleaned up by the shim's program.

    Idempotent; unknown is success. Raises RuntimeFailed, DeadlineExceeded when something is left.
    """
    place = shims.place(container_id)
    if place is None:
        return
    try:
        # Without a socket a daemon died while the shim started: to ask for one again finds it, or makes one.
        if place.socket:
            task = await shims.task(container_id)
        else:
            task = await shims.start(place.command, container_id, Path(place.bundle))
        await _end(task)
        await leave(task)
    except ConnectionLost:
        await shims.clean_up(container_id)
    except PodwrightError:
        if place.socket:
            raise
        await shims.clean_up(container_id)
    shims.forget(container_id)


async def leave(task: Task) -> None:
    """Let the shim end if this was its last container. It may do so before it answers."""
    try:
        await task.shutdown()
    except (ConnectionLost, NotFound):
        return


async def _end(task: Task) -> None:
    try:
        await task.kill(signal.SIGKILL, everything=True)
    except (NotFound, FailedPrecondition):
        log.debug("there is nothing to kill")  # it has ended, or never was
    try:
        async with asyncio.timeout(_KILLED_S):
            await task.wait()
        await task.delete()
    except NotFound:
        return
    except TimeoutError:
        raise DeadlineExceeded(f"a container did not end within {_KILLED_S:g} s after SIGKILL") from None
