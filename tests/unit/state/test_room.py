from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from podwright.state.store import Store
from tests.unit.state.test_store import Thing


def allocated(path: Path) -> int:
    return path.stat().st_blocks * 512


def free_pages(path: Path) -> int:
    database = sqlite3.connect(path)
    (count,) = database.execute("PRAGMA freelist_count").fetchone()
    database.close()
    return int(count)


def test_room_is_held_that_nobody_sees(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    store.table("things", Thing).put("a", Thing("one"))
    assert allocated(tmp_path / "db-wal") >= 5 << 20
    store.close()
    assert not (tmp_path / "db-wal").exists()
    assert allocated(tmp_path / "db-room") >= 5 << 20, "its place is kept until the next start"
    assert free_pages(tmp_path / "db") >= 512
    store = Store(tmp_path / "db")
    assert store.table("things", Thing).get("a") == Thing("one")
    store.close()


def test_new_records_leave_free_pages(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    table = store.table("things", Thing)
    for number in range(100):
        table.put(str(number), Thing("x" * 50_000))
        assert store._pragma("freelist_count") >= 80
    size = (tmp_path / "db").stat().st_size
    for number in range(100):
        table.put(str(number), Thing("y" * 51_000))
    store.close()
    assert (tmp_path / "db").stat().st_size == size, "changes find their pages there"


def test_the_locks_of_sqlite_stay(tmp_path: Path) -> None:
    """Another program that opens and closes the database must not believe that it was alone."""
    store = Store(tmp_path / "db")
    table = store.table("things", Thing)
    table.put("a", Thing("one"))
    inode = os.stat(tmp_path / "db").st_ino
    locks = [line.split()[5] for line in Path("/proc/locks").read_text().splitlines()]
    assert any(lock.endswith(f":{inode}") for lock in locks)
    store.close()
