"""Which backend the pods and containers in a store belong to: another one would neither find nor remove them."""

from __future__ import annotations

import msgspec

from podwright.base.errors import FailedPrecondition
from podwright.state.store import Store


class OwnerRecord(msgspec.Struct, frozen=True):
    """One row, with the key ''."""

    backend: str


def require_owner(store: Store, backend: str, pods: int) -> None:
    """Take the store for a backend. Raises FailedPrecondition when it holds `pods` of another."""
    table = store.table("owner", OwnerRecord)
    before = next(iter(table.values()), OwnerRecord("native"))
    if before.backend == backend:
        return
    if pods:
        raise FailedPrecondition(
            f"this root holds {pods} pods of the {before.backend} backend: remove them with it, or give the {backend} "
            "backend another --root and --run"
        )
    table.put("", OwnerRecord(backend))
