"""What containers use whose kernel is not this one: their cgroups are empty, so their runtime is asked.

Asking costs a process (15 ms of processor time with runsc). So an answer is good for a while, a new one is got in the
background, and only who asks for the first time waits for it, a moment.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass

from podwright.base.errors import PodwrightError
from podwright.base.log import get_logger
from podwright.base.tasks import Tasks
from podwright.cgroup.base import CgroupStats, CpuStats, MemoryStats
from podwright.cgroup.details import CpuTimes
from podwright.container.collaborators import Collaborators
from podwright.container.model import Container
from podwright.runtime.base import Usage

log = get_logger(__name__)

_GOOD_FOR_S = 5.0
_PATIENCE_S = 1.0
_AT_A_TIME = 2


@dataclass(frozen=True)
class Told:
    """What a runtime told of one container."""

    stats: CgroupStats
    cpu: CpuTimes


@dataclass
class _Asked:
    due: float = float("-inf")
    answer: Told | None = None
    asking: asyncio.Task[None] | None = None


class OwnKernelUsage:
    """Usage by container, as its runtime last told."""

    def __init__(self, on: Collaborators, tasks: Tasks) -> None:
        self._on, self._tasks = on, tasks
        self._asked: dict[str, _Asked] = {}
        self._some = asyncio.Semaphore(_AT_A_TIME)

    async def look(self, containers: Iterable[Container]) -> None:
        """Have answers for those of the containers that have a kernel of their own, as far as they come in time."""
        waited_for = set()
        for container in containers:
            if not self._elsewhere(container):
                continue
            asked = self._asked.setdefault(container.id, _Asked())
            if time.monotonic() >= asked.due and asked.asking is None:
                asked.asking = self._tasks.start(self._ask(container, asked), name=f"usage {container.id[:13]}")
            if asked.answer is None and asked.asking is not None:
                waited_for.add(asked.asking)
        if waited_for:
            await asyncio.wait(waited_for, timeout=_PATIENCE_S)

    def _elsewhere(self, container: Container) -> bool:
        try:
            return self._on.handlers.runtime(container.record.handler).own_kernel
        except PodwrightError:
            return False  # its handler is configured no more

    async def _ask(self, container: Container, asked: _Asked) -> None:
        try:
            async with self._some:
                usage = await self._on.handlers.runtime(container.record.handler).usage(container.id)
        except PodwrightError as error:
            log.debug("a runtime does not tell what a container uses", container=container.id[:13], error=str(error))
            return
        finally:
            asked.asking, asked.due = None, time.monotonic() + _GOOD_FOR_S
        if usage is None:
            return
        memory = self._memory(container, usage)
        asked.answer = Told(
            CgroupStats(time.time_ns(), cpu=CpuStats(usage.cpu_ns), memory=memory),
            CpuTimes(
                usage.cpu_user_ns, usage.cpu_system_ns, usage.periods, usage.throttled_periods, usage.throttled_ns
            ),
        )

    def _memory(self, container: Container, usage: Usage) -> MemoryStats | None:
        """Where the kernel counts that of all containers together: of several, nobody knows whose it is."""
        if usage.memory_limit_bytes is None:
            running = [other for other in self._on.containers.of_sandbox(container.record.sandbox_id) if other.running]
            if len(running) > 1:
                return None
        return MemoryStats(
            usage_bytes=usage.memory_bytes, working_set_bytes=usage.memory_bytes - usage.inactive_file_bytes,
            limit_bytes=usage.memory_limit_bytes or 0,
        )  # fmt: skip

    def latest(self, container_id: str) -> Told | None:
        """What was told last; None for what has no kernel of its own."""
        asked = self._asked.get(container_id)
        return asked.answer if asked else None

    def forget(self, container_id: str) -> None:
        self._asked.pop(container_id, None)
