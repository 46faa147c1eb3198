"""A blob on its way in: hashed in the same pass as it is written, resumable, and readable while it grows.

`ContentStore.open_ingest` makes these, one at a time for a digest. Bytes gather to batches; a batch is written and
hashed in a thread (both let go of the interpreter lock) while the next one arrives. Nothing under blobs/ exists
before its digest has been verified. Whoever unpacks while bytes arrive reads the file through `open_reader` as far
as `wait_beyond` allows; what they have read is unverified until `wait_committed` returns.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from podwright.base.errors import Cancelled, DataLoss, PodwrightError
from podwright.base.files import disk_error, fsync_directory
from podwright.base.tasks import shielded
from podwright.linux.syscalls import SYNC_FILE_RANGE_WRITE, sync_file_range
from podwright.oci.digest import Digest, digest_algorithm, finish, new_hasher

# Big enough that threads seldom wait for each other, small enough for followers and for memory: a batch is written
# while the next one gathers.
BATCH_BYTES = 4 * 1024 * 1024
# writev(2) takes no more buffers at a time (IOV_MAX).
_BATCH_CHUNKS = 1024
_READ_BYTES = 1024 * 1024


class DigestMismatch(DataLoss):
    """Bytes are not what their digest or size says. Fetching them again from another place may help."""

    def __init__(self, expected: str, got: str, source: str) -> None:
        super().__init__(f"{source} is not what it should be: expected {expected}, got {got}")
        self.expected, self.got, self.source = expected, got, source


class IngestClosed(Cancelled):
    """The writer went away before the blob was complete; the partial file waits for the next one."""


class Ingest:
    """The life of an ingest: `write` …, `commit`, and always `close`.

    `close` without `commit` keeps the partial file, and a later ingest of the digest goes on at `received`.
    `discard` and a failed `commit` delete it. An ingest that begins `committed` found the blob there: nothing is
    to be written. Writers and followers live in the event loop's thread.
    """

    def __init__(
        self, digest: Digest, size: int, partial: Path, blob: Path, release: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        self.digest, self.size = digest, size
        self.offset = 0
        """Bytes that are in the file, and may be read from it."""
        self.received = 0
        """Bytes that `write` took; what a resumed download leaves out."""
        self.committed = False
        self.keeps_partial = True
        """Whether `close` leaves what has come for a later ingest."""
        self._partial, self._blob, self._release = partial, blob, release
        self._fd = -1
        self._closed = False
        self._hasher = new_hasher(digest_algorithm(digest))
        self._batch: list[bytes] = []
        self._batch_bytes = 0
        self._writing: asyncio.Future[int] | None = None
        self._changed = asyncio.Event()
        self._failure: BaseException | None = None

    # The writer's side.

    async def start(self) -> None:
        """Take over a blob that is there, or open the partial file and hash what it holds. For the store alone."""
        self._start_thread(self._open)
        await self._batch_written()

    def _open(self) -> int:
        if self._blob.exists():
            self.committed = True
            self.received = self._blob.stat().st_size
            return self.received
        self._fd = os.open(self._partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if os.fstat(self._fd).st_size > self.size:
            os.ftruncate(self._fd, 0)
        kept = 0
        while chunk := os.read(self._fd, _READ_BYTES):
            self._hasher.update(chunk)
            kept += len(chunk)
        self.received = kept
        return kept

    async def write(self, chunk: bytes, *, source: str = "") -> None:
        """Take the next bytes. Raises DigestMismatch at once for more than `size` of them, ResourceExhausted."""
        if self._failure is not None:
            raise self._failure
        if self.received + len(chunk) > self.size:
            raise await self._reject(f"{self.size} bytes", "more than that", source)
        self.received += len(chunk)
        self._batch.append(chunk)
        self._batch_bytes += len(chunk)
        if self._batch_bytes >= BATCH_BYTES or len(self._batch) >= _BATCH_CHUNKS:
            await self._write_batch()

    async def flush(self) -> None:
        """Bring everything that `write` took into the file."""
        await self._write_batch()
        await self._batch_written()

    async def commit(self, *, source: str = "") -> None:
        """Verify size and digest, make the blob durable, then visible. `source` says in errors whose bytes they are.

        Raises DigestMismatch, after deleting what was written, or ResourceExhausted.
        """
        await self.flush()
        if self.offset != self.size:
            raise await self._reject(f"{self.size} bytes", f"{self.offset} bytes", source)
        if (got := finish(self._hasher, digest_algorithm(self.digest))) != self.digest:
            raise await self._reject(self.digest, got, source)
        self._start_thread(self._publish)
        await self._batch_written()

    def _publish(self) -> int:
        """In a thread; no bytes are added."""
        os.fsync(self._fd)
        self._partial.rename(self._blob)
        fsync_directory(self._blob.parent)
        self.committed = True
        return 0

    async def discard(self) -> None:
        """Delete the partial file; the next ingest of the digest begins at 0."""
        await self._wait_writing()
        if not self.committed:
            self._partial.unlink(missing_ok=True)
            self._fail(self._failure or IngestClosed(f"the download of {self.digest} was given up"))

    async def close(self) -> None:
        """End this ingest and let the next one of the digest begin. Idempotent, also when cancelled."""
        if not self._closed:
            self._closed = True
            await shielded(self._close(), name=f"close ingest of {self.digest}")

    async def _close(self) -> None:
        try:
            if self._failure is None and not self.committed:
                await self.flush()
        except (PodwrightError, OSError):
            pass  # `_failure` has it, for followers; the writer is going away for a reason of its own.
        finally:
            await self._wait_writing()
            if self._fd >= 0:
                os.close(self._fd)
                if not (self.committed or (self.received and self.keeps_partial)):
                    self._partial.unlink(missing_ok=True)
            if self.committed:
                self._wake()
            else:
                self._fail(self._failure or IngestClosed(f"the download of {self.digest} was broken off"))
            await self._release()

    async def _write_batch(self) -> None:
        await self._batch_written()
        if self._batch:
            batch, self._batch, self._batch_bytes = self._batch, [], 0
            self._start_thread(self._append, batch, self.offset)

    def _start_thread(self, work: Callable[..., int], *arguments: Any) -> None:
        """Whoever waits for it may be cancelled; the file is closed, and given to the next ingest, only after it."""
        self._writing = asyncio.get_running_loop().run_in_executor(None, work, *arguments)

    def _append(self, batch: list[bytes], offset: int) -> int:
        """In a thread: write and hash."""
        count = sum(map(len, batch))
        written = os.writev(self._fd, batch)
        if written < count:
            rest = memoryview(b"".join(batch))[written:]
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        # The disk works while we download, so that fsync has less to wait for at the end.
        try:
            sync_file_range(self._fd, offset, count, SYNC_FILE_RANGE_WRITE)
        except OSError:
            pass  # Not every kernel or file system has it, and fsync reports whatever is wrong.
        for chunk in batch:
            self._hasher.update(chunk)
        return count

    async def _batch_written(self) -> None:
        if self._writing is None:
            return
        await self._wait_writing()
        writing, self._writing = self._writing, None
        try:
            self.offset += writing.result()
        except OSError as error:
            raise self._fail(disk_error(error, self._partial)) from error
        self._wake()

    async def _wait_writing(self) -> None:
        """Until the thread is done with the file. wait() leaves the thread's future alone when we are cancelled."""
        if self._writing is not None:
            await asyncio.wait({self._writing})

    async def _reject(self, expected: str, got: str, source: str) -> DigestMismatch:
        mismatch = DigestMismatch(expected, got, source or f"blob {self.digest}")
        self._fail(mismatch)
        await self.discard()
        return mismatch

    def _fail(self, error: BaseException) -> BaseException:
        self._failure = error
        self._wake()
        return error

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    # The followers' side.

    def open_reader(self) -> int:
        """A descriptor of the file, read-only, position 0; it stays good when the file gets its final name."""
        try:
            return os.open(self._partial, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return os.open(self._blob, os.O_RDONLY | os.O_CLOEXEC)

    async def wait_beyond(self, offset: int) -> int:
        """Wait until more than `offset` bytes can be read, or all of them; returns how many can.

        Raises what made the ingest fail: DigestMismatch, ResourceExhausted, IngestClosed.
        """
        while self.offset <= offset and self.offset < self.size:
            await self._wait_changed()
        return self.offset

    async def wait_committed(self) -> None:
        """Wait until the blob is verified and durable. Raises like `wait_beyond`."""
        while not self.committed:
            await self._wait_changed()

    async def _wait_changed(self) -> None:
        if self._failure is not None:
            raise self._failure
        await self._changed.wait()
