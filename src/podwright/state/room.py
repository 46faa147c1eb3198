"""Room on the disk that the database's files hold in advance.

A full disk must not keep anybody from giving space back, and every stop and every removal writes to the database
first. So the log owns more blocks than it uses, beyond its end, where SQLite grows into them. A clean stop deletes
the log, so a file of the same size keeps its place until the next start. The database itself holds free pages,
which store.py sees to; here is only asked whether the disk has room for more of them. File systems that don't know
fallocate(2) go without.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from podwright.base.errors import ResourceExhausted
from podwright.base.log import get_logger
from podwright.linux.syscalls import FALLOC_FL_KEEP_SIZE, fallocate

log = get_logger(__name__)

# SQLite begins its log anew after 1,000 pages of 4 KiB, each with a header; one transaction may come on top.
# https://sqlite.org/wal.html, section 2.1
_LOG_BYTES = 5 * 1024 * 1024
# What the log takes, and the index of the log beside it.
_PLACE_BYTES = _LOG_BYTES + 256 * 1024
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Room:
    """Of one database file."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._log = database.with_name(f"{database.name}-wal")
        self._place = database.with_name(f"{database.name}-room")
        # Kept until SQLite has closed its own: closing a descriptor drops all locks of the process on the file.
        # https://sqlite.org/howtocorrupt.html, section 2.2
        self._fds: dict[Path, int] = {}

    def give_up_place(self) -> None:
        """For a start that finds the disk full: what was held for it is there again."""
        self._place.unlink(missing_ok=True)

    def hold(self) -> None:
        """Once the database is open. A disk without room for it is logged: the daemon serves all the same."""
        try:
            self._hold(self._log, _LOG_BYTES)
            self._hold(self._place, _PLACE_BYTES)
        except OSError as error:
            log.warning("no room can be held for the state database", path=str(self._database), error=str(error))

    def require(self, size_bytes: int) -> None:
        """Raise ResourceExhausted unless the database's file can grow to that size now."""
        try:
            self._hold(self._database, size_bytes)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise ResourceExhausted(
                f"no space left for the state database {self._database}: free space or remove images"
            ) from error

    def _hold(self, file: Path, size_bytes: int) -> None:
        if file not in self._fds:
            self._fds[file] = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fallocate(self._fds[file], FALLOC_FL_KEEP_SIZE, 0, size_bytes)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS):
                raise

    def close(self) -> None:
        """After the database has been closed. What is held stays held."""
        while self._fds:
            os.close(self._fds.popitem()[1])
