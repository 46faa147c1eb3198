from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from podwright.base.errors import NotFound
from podwright.criapi import api_pb2 as pb
from podwright.sandbox.model import Sandboxes, SandboxRecord
from podwright.state.boot import boot_id
from podwright.state.store import Store


def record(sandbox_id: str, *, attempt: int = 0, **facts: object) -> SandboxRecord:
    metadata = pb.PodSandboxMetadata(name="n", namespace="ns", uid="u", attempt=attempt)
    config = pb.PodSandboxConfig(metadata=metadata).SerializeToString()
    given = {"id": sandbox_id, "config": config, "handler": "", "created_at": 1, "boot": boot_id(), **facts}
    return SandboxRecord(**given)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "db")
    yield opened
    opened.close()


def test_state_follows_from_facts(store: Store) -> None:
    sandboxes = Sandboxes(store)
    assert not sandboxes.add(record("a1")).ready
    assert sandboxes.update("a1", ready_at=5).ready
    assert not sandboxes.update("a1", stopped_at=6).ready
    assert not sandboxes.add(record("b1", attempt=1, ready_at=5, boot="another")).ready


def test_found_by_prefix_and_key_until_removed(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    sandboxes = Sandboxes(store)
    sandboxes.add(record("abc"))
    sandboxes.add(record("abd", attempt=1))
    assert sandboxes.find("abd").id == "abd"
    found = sandboxes.by_key(("n", "ns", "u", 1))
    assert found is not None
    assert found.id == "abd"
    sandboxes.remove("abd")
    assert sandboxes.find("ab").id == "abc"
    assert sandboxes.by_key(("n", "ns", "u", 1)) is None
    with pytest.raises(NotFound):
        sandboxes.find("abd")
    store.close()
    again = Store(tmp_path / "db")
    assert [sandbox.id for sandbox in Sandboxes(again)] == ["abc"]
    again.close()


def test_created_at_only_grows_when_the_clock_steps_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    sandboxes = Sandboxes(store)
    first = sandboxes.next_created_at()
    monkeypatch.setattr("time.time_ns", lambda: 1)
    assert sandboxes.next_created_at() == first + 1


def test_a_configuration_that_is_no_message_is_set_aside(store: Store) -> None:
    store.table("sandboxes", SandboxRecord).put("x", record("x", config=b"\xff\xff\xff"))
    assert list(Sandboxes(store)) == []
    assert store.quarantined() == 1
