"""Containers frozen for a while: all of them before anything is read, and thawed whatever happens.

A container that is not thawed is dead to everybody, and looks alive. So the journal names it before it is frozen,
undoing thaws, and so does the next start after a crash.
"""

from __future__ import annotations

from collections.abc import Iterable

from podwright.base.errors import PodwrightError
from podwright.base.log import get_logger
from podwright.base.tasks import gather_all
from podwright.container.collaborators import Collaborators
from podwright.container.model import Container
from podwright.runtime.base import ContainerNotRunning

log = get_logger(__name__)


class Freezer:
    """The containers of one checkpoint, and which of them may be frozen."""

    def __init__(self, on: Collaborators, containers: Iterable[Container]) -> None:
        self._on = on
        self._containers = list(containers)
        self._frozen: dict[str, Container] = {}

    async def freeze(self) -> None:
        """All of them. Raises ContainerNotRunning for one that has ended."""
        await gather_all(*(self._freeze(container) for container in self._containers), name="freeze")

    async def _freeze(self, container: Container) -> None:
        self._frozen[container.id] = container
        await self._on.handlers.runtime(container.record.handler).pause(container.id)

    async def thaw(self) -> None:
        """Those that may be frozen. Tries them all, and raises when one can't be thawed."""
        failed: list[PodwrightError] = []
        for container in list(self._frozen.values()):
            try:
                await thaw(self._on, container)
                del self._frozen[container.id]
            except PodwrightError as error:
                log.error("a container can't be thawed", container=container.id[:13], error=str(error))
                failed.append(error)
        if failed:
            raise failed[0]


async def thaw(on: Collaborators, container: Container) -> None:
    """By the runtime, or by hand where that fails. Not frozen, or ended: success."""
    if container.finished:
        return
    try:
        await on.handlers.runtime(container.record.handler).resume(container.id)
    except ContainerNotRunning:
        return
    except PodwrightError as error:
        log.warning("the runtime does not thaw a container", container=container.id[:13], error=str(error))
        on.cgroups.set_frozen(container.record.cgroup, frozen=False)
