from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest

from podwright.base.errors import FailedPrecondition, Internal
from podwright.state.store import Store


class Thing(msgspec.Struct, frozen=True):
    name: str
    data: bytes = b""
    at: int = 0


def test_records_survive_reopening(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    store.table("things", Thing).put("a", Thing("one", b"\xff\x00", 7))
    store.close()
    store = Store(tmp_path / "db")
    again = store.table("things", Thing)
    assert again.get("a") == Thing("one", b"\xff\x00", 7)
    assert "a" in again
    assert len(again) == 1
    store.close()


def test_database_is_for_root_only(tmp_path: Path) -> None:
    Store(tmp_path / "db").close()
    assert (tmp_path / "db").stat().st_mode & 0o777 == 0o600


def test_one_bad_record_is_set_aside_and_the_others_load(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    table = store.table("things", Thing)
    table.put("good", Thing("good"))
    store.close()
    raw = sqlite3.connect(tmp_path / "db")
    raw.execute("INSERT INTO things VALUES ('bad', '{\"name\": 3}')")
    raw.execute("INSERT INTO things VALUES ('worse', x'ff00')")
    raw.commit()
    raw.close()
    store = Store(tmp_path / "db")
    assert store.table("things", Thing).keys() == ["good"]
    assert store.quarantined() == 2
    store.close()
    store = Store(tmp_path / "db")
    assert store.table("things", Thing).keys() == ["good"]
    assert store.quarantined() == 2, "the rows stay for a person to look at"
    store.close()


def test_a_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    table = store.table("things", Thing)
    with pytest.raises(RuntimeError), store.transaction():  # noqa: PT012 - the block is what is tested
        table.put("a", Thing("a"))
        raise RuntimeError
    store.close()
    store = Store(tmp_path / "db")
    assert len(store.table("things", Thing)) == 0
    store.close()


def test_a_transaction_that_fails_leaves_memory_as_it_was(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    table = store.table("things", Thing)
    for name in ("changed", "removed"):
        table.put(name, Thing("before"))
    with pytest.raises(RuntimeError), store.transaction():  # noqa: PT012 - the block is what is tested
        table.put("changed", Thing("after"))
        table.put("changed", Thing("again"))
        table.put("new", Thing("after"))
        table.delete("removed")
        assert table.get("changed") == Thing("again"), "within it, all of it is seen"
        raise RuntimeError
    assert {key: table.get(key) for key in ("changed", "removed", "new")} == {
        "changed": Thing("before"), "removed": Thing("before"), "new": None,
    }  # fmt: skip
    store.close()


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    raw = sqlite3.connect(tmp_path / "db")
    raw.execute("PRAGMA user_version=99")
    raw.close()
    with pytest.raises(FailedPrecondition, match="newer Podwright"):
        Store(tmp_path / "db")


def test_a_file_that_is_no_database_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(b"not a database" * 1000)
    with pytest.raises(Internal, match="move it away"):
        Store(tmp_path / "db")
