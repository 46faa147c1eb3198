"""What plugins want done to containers that exist: updates, and evictions."""

from __future__ import annotations

from collections.abc import Callable

from podwright.base.errors import PodwrightError
from podwright.base.log import get_logger
from podwright.base.tasks import Tasks
from podwright.nri import nri_pb2 as pb
from podwright.nri.base import Node
from podwright.nri.plugin import Plugin
from podwright.nri.resources import to_oci
from podwright.nri.updates import Updates

log = get_logger(__name__)


class Effects:
    """Takes no turn: a plugin may ask for updates while it is being asked something, and would wait for itself."""

    def __init__(self, node: Callable[[], Node], tasks: Tasks) -> None:
        self._node, self._tasks = node, tasks

    async def carry_out(self, updates: Updates) -> None:
        """What came with answers. Raises for an update that may not fail."""
        for update in updates.by_container.values():
            try:
                await self._update(update)
            except PodwrightError as error:
                if not update.ignore_failure:
                    raise
                log.info("an update that may fail did", container=update.container_id[:13], error=str(error))
        for container_id, reason in updates.evictions.items():
            self._evict(container_id, reason)

    async def try_to_carry_out(self, updates: Updates) -> None:
        """Where there is nobody to tell of a failure."""
        try:
            await self.carry_out(updates)
        except PodwrightError as error:
            log.warning("an update that an NRI plugin wanted failed", error=str(error))

    async def of_request(self, plugin: Plugin, request: pb.UpdateContainersRequest) -> list[pb.ContainerUpdate]:
        """What a plugin wants by itself. Gives the updates that failed."""
        failed = []
        for update in request.update:
            try:
                await self._update(update)
            except PodwrightError as error:
                log.info("an update that an NRI plugin wanted failed", plugin=plugin.name, error=str(error))
                failed.append(update)
        for eviction in request.evict:
            self._evict(eviction.container_id, f"{plugin.name}: {eviction.reason}")
        return failed

    async def _update(self, update: pb.ContainerUpdate) -> None:
        await self._node().update(update.container_id, to_oci(update.linux.resources))

    def _evict(self, container_id: str, reason: str) -> None:
        """In the background: a stop takes its time, and may be of the pod whose request brought it about."""
        log.warning("an NRI plugin evicts a container", container=container_id[:13], reason=reason)
        self._tasks.start(self._node().evict(container_id, reason), name=f"evict {container_id[:13]}")
