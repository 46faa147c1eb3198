"""What plugins want changed of containers that exist already, merged by container. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from podwright.nri import nri_pb2 as pb
from podwright.nri.base import Refused
from podwright.nri.owners import Owners
from podwright.nri.resources import merge


class Updates:
    """The updates and evictions of one request. `creating`: the container that doesn't exist yet."""

    def __init__(self, owners: Owners, *, creating: str = "") -> None:
        self._owners, self._creating = owners, creating
        self.by_container: dict[str, pb.ContainerUpdate] = {}
        self.evictions: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self.by_container or self.evictions)

    def apply(
        self, plugin: str, updates: Iterable[pb.ContainerUpdate], evictions: Iterable[pb.ContainerEviction] = ()
    ) -> None:
        """Add one plugin's wishes. Raises Refused for a contradiction that the plugin did not say to ignore."""
        for update in updates:
            if update.container_id == self._creating:
                raise Refused(f"NRI plugin {plugin} wants to update a container that is being created: adjust it")
            self._add(plugin, update)
        for eviction in evictions:
            self.evictions.setdefault(eviction.container_id, f"{plugin}: {eviction.reason}")

    def _add(self, plugin: str, update: pb.ContainerUpdate) -> None:
        known = self.by_container.get(update.container_id)
        merged = pb.ContainerUpdate(container_id=update.container_id, ignore_failure=update.ignore_failure)
        if known is not None:
            merged.CopyFrom(known)
            merged.ignore_failure = known.ignore_failure and update.ignore_failure
        try:
            merge(update.linux.resources, merged.linux.resources, self._owners, update.container_id, plugin)
        except Refused:
            if not update.ignore_failure:
                raise
            return
        self.by_container[update.container_id] = merged
