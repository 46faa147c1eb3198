"""The records: one SQLite database in WAL mode, a table a kind of object, a typed JSON document a row.

Rooms above describe their record as a `msgspec.Struct` and get a `Table` of it: reads come from memory, a write
is in the database before it is in memory and before `put` returns. With `synchronous=NORMAL` a write survives the
death of the daemon at any instruction (the page cache has it), and after a power cut the database is consistent
though perhaps short of its last writes; what those described died with the machine. Tables of things that outlive
a boot (images) ask for `durable`, which syncs. https://sqlite.org/wal.html, section 5.

A row that can't be decoded is moved to the `quarantine` table and reported, so that one bad record never stops
the daemon.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, ValuesView
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from podwright.base.errors import FailedPrecondition, Internal, ResourceExhausted
from podwright.base.log import get_logger

log = get_logger(__name__)
R = TypeVar("R", bound=msgspec.Struct)

SCHEMA_VERSION = 1


class Store:
    """The database. All calls come from the event loop's thread; one takes some 50 µs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = sqlite3.connect(path, isolation_level=None)
        path.chmod(0o600)
        self._depth = 0
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._check_version()
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS quarantine (at INTEGER, source TEXT, key TEXT, record BLOB, error TEXT)"
            )
        except sqlite3.DatabaseError as error:
            raise Internal(f"the state database {path} can't be used: {error}; move it away to start afresh") from error

    def _check_version(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise FailedPrecondition(
                f"the state database {self._path} was written by a newer Podwright (format {version}, "
                f"this one knows {SCHEMA_VERSION}): use the newer one, or another --root"
            )
        self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    def table(self, name: str, record_type: type[R], *, durable: bool = False) -> Table[R]:
        """The table of one kind of record; loads it. `name` is a constant of the caller's, an SQL identifier."""
        self._db.execute(
            f"CREATE TABLE IF NOT EXISTS {name} (key TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID"
        )
        return Table(self, name, record_type, durable=durable)

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[None]:
        """All writes inside become visible together or not at all. No await may stand inside."""
        self._depth += 1
        try:
            if self._depth > 1:
                yield
                return
            self._execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._execute("COMMIT")
        finally:
            self._depth -= 1
        if durable:
            self.sync()

    def sync(self) -> None:
        """Force what is committed to the disk."""
        self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def quarantine(self, source: str, key: str, record: bytes, error: str) -> None:
        """Move a bad row out of the way; it stays in the database for a person to look at."""
        log.error("a bad record was set aside", table=source, key=key, error=error)
        with self.transaction():
            self._execute("INSERT INTO quarantine VALUES (?, ?, ?, ?, ?)", (time.time_ns(), source, key, record, error))
            self._execute(f"DELETE FROM {source} WHERE key = ?", (key,))

    def quarantined(self) -> int:
        """How many rows were set aside; shown by Status."""
        (count,) = self._db.execute("SELECT count(*) FROM quarantine").fetchone()
        return int(count)

    def _rows(self, table: str) -> list[tuple[str, bytes]]:
        return self._db.execute(f"SELECT key, record FROM {table}").fetchall()

    def _execute(self, statement: str, parameters: tuple[object, ...] = ()) -> None:
        try:
            self._db.execute(statement, parameters)
        except sqlite3.OperationalError as error:
            if "full" in str(error) or "disk I/O" in str(error):
                raise ResourceExhausted(
                    f"the state database {self._path} can't grow: {error}; free space on its file system"
                ) from error
            raise Internal(f"state database {self._path}: {error}") from error

    def close(self) -> None:
        self._db.close()


class Table(Generic[R]):
    """The records of one kind, by key. Iteration order is insertion order, after a restart the keys' order."""

    def __init__(self, store: Store, name: str, record_type: type[R], *, durable: bool) -> None:
        self._store, self._name, self._durable = store, name, durable
        self._records: dict[str, R] = {}
        decoder = msgspec.json.Decoder(record_type)
        for key, raw in store._rows(name):
            try:
                self._records[key] = decoder.decode(raw)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                store.quarantine(name, key, raw, str(error))

    def get(self, key: str) -> R | None:
        return self._records.get(key)

    def put(self, key: str, record: R) -> None:
        """Store `record`; when this returns it survives our death. Raises ResourceExhausted on a full disk."""
        with self._store.transaction(durable=self._durable):
            self._store._execute(
                f"INSERT OR REPLACE INTO {self._name} VALUES (?, ?)", (key, msgspec.json.encode(record))
            )
        self._records[key] = record

    def delete(self, key: str) -> None:
        """Forget a record; an absent key is success."""
        with self._store.transaction(durable=self._durable):
            self._store._execute(f"DELETE FROM {self._name} WHERE key = ?", (key,))
        self._records.pop(key, None)

    def quarantine(self, key: str, error: str) -> None:
        """Set a record aside that decodes but can't be worked with."""
        record = self._records.pop(key)
        self._store.quarantine(self._name, key, msgspec.json.encode(record), error)

    def values(self) -> ValuesView[R]:
        return self._records.values()

    def keys(self) -> list[str]:
        return list(self._records)

    def __contains__(self, key: str) -> bool:
        return key in self._records

    def __len__(self) -> int:
        return len(self._records)
