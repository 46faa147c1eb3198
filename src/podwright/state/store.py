"""The records: one SQLite database in WAL mode, a table a kind of object, a typed JSON document a row.

Rooms above describe their record as a `msgspec.Struct` and get a `Table` of it: reads come from memory, a write
is in the database before it is in memory and before `put` returns. With `synchronous=NORMAL` a write survives the
death of the daemon at any instruction (the page cache has it), and after a power cut the database is consistent
though perhaps short of its last writes; what those described died with the machine. Tables of things that outlive
a boot (images) ask for `durable`, which syncs. https://sqlite.org/wal.html, section 5.

A row that can't be decoded is moved to the `quarantine` table and reported, so that one bad record never stops
the daemon.

A full disk refuses new records only: for all other writes there is room (room.py).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, ValuesView
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from podwright.base.errors import FailedPrecondition, Internal, PodwrightError, ResourceExhausted
from podwright.base.log import get_logger
from podwright.state.room import Room

log = get_logger(__name__)
R = TypeVar("R", bound=msgspec.Struct)

SCHEMA_VERSION = 1
_PAGE_BYTES = 4096  # SQLite's default
# Free pages are brought to the first number when there are fewer than the second.
_FREE_PAGES, _LOW_FREE_PAGES = 512, 96


class Store:
    """The database. All calls come from the event loop's thread; one takes some 50 µs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._room = Room(path)
        self._depth = 0
        self._undo: list[Callable[[], None]] = []
        try:
            self._db = self._open()
        except ResourceExhausted as error:
            log.warning("starting on a full disk, in the room that was held for it", error=str(error))
            self._room.give_up_place()
            self._db = self._open()
        self._room.hold()
        try:
            self.require_room()
        except ResourceExhausted as error:
            log.warning("only what is there can be worked with", error=str(error))

    def _open(self) -> sqlite3.Connection:
        db = None
        try:
            db = sqlite3.connect(self._path, isolation_level=None)
            self._set_up(db)
        except BaseException as error:
            if db is not None:
                db.close()
            if not isinstance(error, sqlite3.DatabaseError):
                raise
            if _says_full(error):
                raise self._full(error) from error
            raise Internal(
                f"the state database {self._path} can't be used: {error}; move it away to start afresh"
            ) from error
        return db

    def _set_up(self, db: sqlite3.Connection) -> None:
        self._path.chmod(0o600)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        self._check_version(db)
        db.execute("CREATE TABLE IF NOT EXISTS quarantine (at INTEGER, source TEXT, key TEXT, record BLOB, error TEXT)")

    def _check_version(self, db: sqlite3.Connection) -> None:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise FailedPrecondition(
                f"the state database {self._path} was written by a newer Podwright (format {version}, "
                f"this one knows {SCHEMA_VERSION}): use the newer one, or another --root"
            )
        if version != SCHEMA_VERSION:
            db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    def require_room(self) -> None:
        """Before a new record: see to it that changes and removals of those that are there will find free pages.

        Raises ResourceExhausted.
        """
        if self._depth > 0 or self._pragma("freelist_count") >= _LOW_FREE_PAGES:
            return
        self._room.require((self._pragma("page_count") + _FREE_PAGES + 16) * _PAGE_BYTES)
        # A page that is filled and freed in one transaction would never be written: so there are two.
        self._execute("DROP TABLE IF EXISTS room")
        self._execute("CREATE TABLE room (held BLOB)")
        self._execute("INSERT INTO room VALUES (zeroblob(?))", (_FREE_PAGES * _PAGE_BYTES,))
        self._execute("DROP TABLE room")
        self.sync()

    def _pragma(self, name: str) -> int:
        (value,) = self._db.execute(f"PRAGMA {name}").fetchone()
        return int(value)

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
                self._execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
            self._undo.clear()
        finally:
            self._depth -= 1
        if durable:
            self.sync()

    def _roll_back(self) -> None:
        if self._db.in_transaction:  # not after an error that ended it already, such as a full disk
            self._db.execute("ROLLBACK")
        while self._undo:
            self._undo.pop()()

    def sync(self) -> None:
        """Force what is committed to the disk."""
        self._execute("PRAGMA wal_checkpoint(PASSIVE)")

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
            raise self._failed(error) from error

    def _failed(self, error: sqlite3.OperationalError) -> PodwrightError:
        return self._full(error) if _says_full(error) else Internal(f"state database {self._path}: {error}")

    def _full(self, error: sqlite3.Error) -> ResourceExhausted:
        return ResourceExhausted(f"the state database {self._path} can't grow: {error}; free space on its file system")

    def close(self) -> None:
        self._db.close()
        self._room.close()


def _says_full(error: sqlite3.Error) -> bool:
    """SQLITE_FULL; and what the files beside the database say, which can't be made."""
    return any(word in str(error) for word in ("full", "disk I/O", "unable to open database file"))


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
        if key not in self._records:
            self._store.require_room()
        with self._store.transaction(durable=self._durable):
            self._store._execute(
                f"INSERT OR REPLACE INTO {self._name} VALUES (?, ?)", (key, msgspec.json.encode(record))
            )
            self._remember(key, record)

    def delete(self, key: str) -> None:
        """Forget a record; an absent key is success."""
        with self._store.transaction(durable=self._durable):
            self._store._execute(f"DELETE FROM {self._name} WHERE key = ?", (key,))
            self._remember(key, None)

    def _remember(self, key: str, record: R | None) -> None:
        """Change memory with the database; when the transaction fails, memory is put back as well."""
        before = self._records.get(key)
        self._store._undo.append(lambda: self._set(key, before))
        self._set(key, record)

    def _set(self, key: str, record: R | None) -> None:
        if record is None:
            self._records.pop(key, None)
        else:
            self._records[key] = record

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
