"""Who has set what: a field of a container is set by one plugin only, or by another that first takes it away.

The records are NRI's own message, because validators get to see them. A removed entry keeps the remover's name behind
a '-': that plugin alone may set it anew.
"""

from __future__ import annotations

from typing import Any

from podwright.nri import nri_pb2 as pb
from podwright.nri.base import Refused

REMOVAL = "-"


def split_removal(key: str) -> tuple[str, bool]:
    """The bare key, and whether it was marked for removal."""
    return (key[1:], True) if key.startswith(REMOVAL) else (key, False)


class Owners:
    """The owners of all fields that the plugins have set in the course of one request."""

    def __init__(self) -> None:
        self.message = pb.OwningPlugins()

    def claim(self, container_id: str, field: pb.Field.ValueType, plugin: str, key: str | None = None) -> None:
        """Make `plugin` the owner. Raises Refused when there is one."""
        table = self._table(container_id, field, key)
        slot: int | str = field if key is None else key
        owner, removed = split_removal(table.get(slot, ""))
        if owner and not (removed and owner == plugin):
            what = pb.Field.Name(field) + (f" {key}" if key is not None else "")
            raise Refused(f"NRI plugins {owner} and {plugin} both want to set {what} of container {container_id[:13]}")
        table[slot] = plugin

    def release(self, container_id: str, field: pb.Field.ValueType, plugin: str, key: str | None = None) -> None:
        """Note that `plugin` has taken the entry away, whoever set it."""
        self._table(container_id, field, key)[field if key is None else key] = REMOVAL + plugin

    def join(self, container_id: str, field: pb.Field.ValueType, plugin: str) -> None:
        """Add `plugin` to the owners of a field that plugins may add to side by side (hooks)."""
        simple = self.message.owners[container_id].simple
        simple[field] = f"{simple[field]},{plugin}" if field in simple else plugin

    def _table(self, container_id: str, field: pb.Field.ValueType, key: str | None) -> Any:
        """The map from field or key to owner; protobuf's map types have no common name."""
        owners = self.message.owners[container_id]
        return owners.simple if key is None else owners.compound[field].owners

    def of(self, container_id: str, field: pb.Field.ValueType, key: str | None = None) -> str:
        """The owner; '' for none, also where it was taken away."""
        owners = self.message.owners[container_id]
        owner = owners.simple.get(field, "") if key is None else owners.compound[field].owners.get(key, "")
        name, removed = split_removal(owner)
        return "" if removed else name

    def keys(self, container_id: str, field: pb.Field.ValueType) -> dict[str, str]:
        """Key → owner of a field with keys."""
        entries = self.message.owners[container_id].compound[field].owners
        return {key: owner for key, owner in entries.items() if not owner.startswith(REMOVAL)}
