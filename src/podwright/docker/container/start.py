"""StartContainer: let the engine run the container, then store what process it got."""

from __future__ import annotations

import time

from podwright.base.errors import FailedPrecondition, PodwrightError, Unavailable
from podwright.base.inflight import Stage
from podwright.base.log import get_logger
from podwright.base.tasks import shielded
from podwright.cgroup.base import Limits
from podwright.container.model import START_ERROR, Container
from podwright.container.start import START_FAILED_EXIT_CODE
from podwright.criapi import api_pb2 as pb
from podwright.docker.answers import Inspected, State
from podwright.docker.collaborators import Collaborators
from podwright.docker.container.exits import Exits
from podwright.docker.container.logs import Logs
from podwright.docker.engine_containers import inspect, start
from podwright.docker.errors import EngineFailed
from podwright.docker.naming import container_name
from podwright.linux.pidfd import identify
from podwright.runtime.words import failure

log = get_logger(__name__)


async def start_container(on: Collaborators, exits: Exits, logs: Logs, container: Container, stage: Stage) -> None:
    """CREATED → RUNNING. A failure leaves the container EXITED with the reason StartError.

    Raises FailedPrecondition unless the container is CREATED, CommandNotRunnable, and the engine's refusals.
    """
    async with on.locks.hold(container.id):
        if container.state != pb.CONTAINER_CREATED:
            state = pb.ContainerState.Name(container.state).removeprefix("CONTAINER_").lower()
            raise FailedPrecondition(f"container {container.id[:13]} is {state}: only a created one can be started")
        stage("Docker start")
        try:
            await start(on.engine, container_name(container))
        except Unavailable:
            raise  # nobody knows whether it was started: the caller asks again
        except PodwrightError as error:
            told = failure("start", container.id, str(error), program="Docker") if _is_runtimes(error) else error
            await shielded(_record_failure(on, container, told), name="start failed")
            raise told from error
        found = await inspect(on.engine, container_name(container))
        record_start(on, container, found)
        logs.follow(container)
        exits.watch(container)
        _limit_hugepages(on, container)


def record_start(on: Collaborators, container: Container, found: Inspected | None) -> None:
    """A container that the engine has started. A process that has ended already is nobody's: it has no start time."""
    state = State() if found is None else found.state
    if found is not None:
        on.layers.learn(container.id, found)
    process = identify(state.pid) if state.pid else None
    on.containers.update(
        container.id, started_at=state.started_ns or time.time_ns(), pid=state.pid,
        pid_start_time=process.start_time if process else 0,
    )  # fmt: skip


def _is_runtimes(error: PodwrightError) -> bool:
    """Docker hands the runtime's words on with 400, 404 or 500, as its version has it."""
    return isinstance(error, EngineFailed) or "OCI runtime" in str(error)


async def _record_failure(on: Collaborators, container: Container, error: PodwrightError) -> None:
    now = time.time_ns()
    on.containers.update(
        container.id, started_at=now, finished_at=now, exit_code=START_FAILED_EXIT_CODE, reason=START_ERROR,
        message=str(error),
    )  # fmt: skip


def _limit_hugepages(on: Collaborators, container: Container) -> None:
    """Docker has no word for them."""
    hugepages = {limit.page_size: limit.limit for limit in container.resources.hugepage_limits}
    if hugepages and container.process is not None and on.cgroups.limits_hugepages():
        on.cgroups.set_limits(container.record.cgroup, Limits(hugepages=hugepages))
