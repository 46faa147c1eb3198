"""Which daemon's root this is, in the engine's labels: a word that is made once and kept in the state store."""

from __future__ import annotations

import msgspec

from podwright.base.ids import random_suffix
from podwright.state.store import Store


class InstanceRecord(msgspec.Struct, frozen=True):
    """One row, with the key ''."""

    word: str


def instance_word(store: Store) -> str:
    table = store.table("docker_instance", InstanceRecord)
    found = next(iter(table.values()), None)
    if found is None:
        found = InstanceRecord(random_suffix())
        table.put("", found)
    return found.word
