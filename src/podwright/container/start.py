"""StartContainer: let the created process run its command."""

from __future__ import annotations

import time

from podwright.base.errors import FailedPrecondition, PodwrightError
from podwright.base.files import remove_tree
from podwright.base.inflight import Stage
from podwright.base.log import get_logger
from podwright.base.tasks import in_thread, shielded
from podwright.container.collaborators import Collaborators
from podwright.container.create import launch_of, process_facts
from podwright.container.exits import Exits
from podwright.container.model import START_ERROR, Container
from podwright.criapi import api_pb2 as pb
from podwright.nri.base import Event

log = get_logger(__name__)

START_FAILED_EXIT_CODE = 128


async def start_container(on: Collaborators, exits: Exits, container: Container, stage: Stage) -> None:
    """CREATED → RUNNING. A failure leaves the container EXITED with the reason StartError.

    Raises FailedPrecondition unless the container is CREATED.
    """
    async with on.locks.hold(container.id):
        if container.state != pb.CONTAINER_CREATED:
            state = pb.ContainerState.Name(container.state).removeprefix("CONTAINER_").lower()
            raise FailedPrecondition(f"container {container.id[:13]} is {state}: only a created one can be started")
        stage("NRI plugins")
        await on.plugins.before(Event.START_CONTAINER, container.id)
        stage("runtime start")
        runtime = on.handlers.runtime(container.record.handler)
        container.starting = True
        try:
            # A command that ends at once must not have its state deleted under a runtime that is still at work on it.
            async with on.locks.hold(("runtime", container.id)):
                if container.awaits_restore:
                    await _restore(on, exits, container)
                else:
                    await runtime.start(container.id)
        except PodwrightError as error:
            await shielded(_record_failure(on, exits, container, error), name="start failed")
            raise
        finally:
            container.starting = False
        # Taken after the start, so that a status never says RUNNING of a process that has not begun.
        on.containers.update(
            container.id, started_at=min(time.time_ns(), container.record.finished_at or time.time_ns())
        )
    await on.plugins.after(Event.POST_START_CONTAINER, container.id)


async def _restore(on: Collaborators, exits: Exits, container: Container) -> None:
    """Give it the processes of its checkpoint, which run at once."""
    created = await on.monitor.create(launch_of(on, container, in_userns=False))
    on.containers.update(container.id, **process_facts(on, container, created))
    exits.watch(container)
    await in_thread(remove_tree, on.layout.restore(container.id))


async def _record_failure(on: Collaborators, exits: Exits, container: Container, error: PodwrightError) -> None:
    if container.finished:
        return
    now = time.time_ns()
    on.containers.update(
        container.id, started_at=now, finished_at=now, exit_code=START_FAILED_EXIT_CODE, reason=START_ERROR,
        message=str(error),
    )  # fmt: skip
    await on.plugins.after(Event.STOP_CONTAINER, container.id)
    await exits.release_runtime(container)
