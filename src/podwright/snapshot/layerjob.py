"""One layer, from the raw bytes of its blob to a tree and its diff id: what the sandboxed child of the worker runs.

Two threads share the work: one decompresses and hashes, this one makes files; both spend their time in C with the
interpreter's lock released, so two cores are busy. Messages between the daemon, the worker and the child are
the structs at the top.
"""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from collections.abc import Callable

import msgspec

from podwright.snapshot import tarstream
from podwright.snapshot.decompress import CompressionError, open_stream
from podwright.snapshot.extract import Found, LimitExceeded, Tree, Unacceptable
from podwright.snapshot.tarstream import Member, TarError, TarReader

_CHUNK_BYTES = 512 * 1024
_QUEUE_CHUNKS = 8
# Written to the progress pipe instead of a size: the blob is complete and will not grow.
COMPLETE = 2**64 - 1


class Job(msgspec.Struct, tag=True):
    """The daemon's request. Its descriptors come with it: the blob, the report file and the progress pipe, if any."""

    number: int
    target: str
    max_bytes: int
    max_entries: int
    follow: bool


class Kill(msgspec.Struct, tag=True):
    """The daemon doesn't want job `number` any more."""

    number: int


class Ended(msgspec.Struct):
    """The worker's answer: how the job's child ended, as os.waitstatus_to_exitcode has it."""

    number: int
    returncode: int


class Report(msgspec.Struct):
    """What the child found out, or why it stopped: `problem` is '', 'invalid', 'limit', 'aborted' or 'os'."""

    problem: str = ""
    message: str = ""
    errno: int = 0
    diff_id: str = ""
    plain_bytes: int = 0
    disk_bytes: int = 0
    entries: int = 0
    implicit: list[bytes] = []
    opaque: list[bytes] = []
    links: list[tuple[bytes, bytes]] = []


class Aborted(Exception):
    """The download that feeds us ended before the blob was complete."""


class Blob:
    """The raw bytes of a blob by descriptor, up to where it is written, while somebody may still be writing it."""

    def __init__(self, fd: int, progress_fd: int | None) -> None:
        self._fd, self._progress_fd = fd, progress_fd
        self._at = 0
        self._available = COMPLETE if progress_fd is None else 0

    def read(self, n: int) -> bytes:
        """At most `n` bytes; b'' at the end. Waits for bytes that are announced by the progress pipe."""
        while self._at >= self._available:
            self._wait()
        data = os.pread(self._fd, min(n, self._available - self._at), self._at)
        if not data and self._available != COMPLETE:
            raise Aborted("the blob is shorter than announced")
        self._at += len(data)
        return data

    def _wait(self) -> None:
        assert self._progress_fd is not None
        news = os.read(self._progress_fd, 8 * 512)
        if not news:
            raise Aborted("the blob was not completed")
        self._available = int.from_bytes(news[len(news) - 8 :], "little")


class PlainStream:
    """The decompressed bytes, hashed on the way, made by a thread of their own a few chunks ahead."""

    def __init__(self, read_blob: Callable[[int], bytes], max_bytes: int) -> None:
        self._read_blob, self._max_bytes = read_blob, max_bytes
        self._chunks: queue.Queue[bytes | BaseException] = queue.Queue(_QUEUE_CHUNKS)
        self._hash = hashlib.sha256()
        self.total_bytes = 0
        self._chunk, self._at = b"", 0
        self._ended = False
        threading.Thread(target=self._produce, daemon=True).start()

    def _produce(self) -> None:
        try:
            stream = open_stream(self._read_blob)
            while chunk := stream.read(_CHUNK_BYTES):
                self._hash.update(chunk)
                self.total_bytes += len(chunk)
                if self.total_bytes > self._max_bytes:
                    raise LimitExceeded(f"it has more than {self._max_bytes} bytes when decompressed")
                self._chunks.put(chunk)
            self._chunks.put(b"")
        except BaseException as error:  # raised again in the other thread
            self._chunks.put(error)

    def _next(self) -> bool:
        if self._ended:
            return False
        chunk = self._chunks.get()
        if isinstance(chunk, BaseException):
            raise chunk
        self._chunk, self._at = chunk, 0
        self._ended = not chunk
        return not self._ended

    def read(self, n: int) -> bytes:
        """Exactly `n` bytes, fewer only at the end of the stream."""
        data = self._chunk[self._at : self._at + n]
        self._at += len(data)
        while len(data) < n and self._next():
            self._at = min(n - len(data), len(self._chunk))
            data += self._chunk[: self._at]
        return data

    def copy(self, fd: int, member: Member) -> None:
        """Write a regular file's data to `fd`, and skip the padding behind it."""
        if member.sparse is None:
            self._copy(fd, member.stored, member)
        else:
            for offset, length in member.sparse:
                os.lseek(fd, offset, os.SEEK_SET)
                self._copy(fd, length, member)
            os.ftruncate(fd, member.size)
        self.read(tarstream.padding(member.stored))

    def _copy(self, fd: int, length: int, member: Member) -> None:
        while length:
            if self._at >= len(self._chunk) and not self._next():
                raise TarError(f"the archive ends in the middle of entry {tarstream.printable(member.name)}")
            take = min(length, len(self._chunk) - self._at)
            written = os.write(fd, memoryview(self._chunk)[self._at : self._at + take])
            self._at += written
            length -= written

    def finish(self) -> str:
        """Read what follows the archive, and give the diff id of all."""
        while self._next():
            pass
        return "sha256:" + self._hash.hexdigest()


def unpack(blob: Blob, root_fd: int, *, max_bytes: int, max_entries: int) -> Report:
    """Unpack a layer into the empty directory `root_fd`. Never raises: what goes wrong is in the report."""
    try:
        stream = PlainStream(blob.read, max_bytes)
        found = _extract(stream, Tree(root_fd, max_entries=max_entries))
        return Report(
            diff_id=stream.finish(), plain_bytes=stream.total_bytes, disk_bytes=found.disk_bytes,
            entries=found.entries, implicit=sorted(found.implicit), opaque=sorted(found.opaque), links=found.links,
        )  # fmt: skip
    except (Unacceptable, TarError, CompressionError) as error:
        return Report(problem="invalid", message=str(error))
    except LimitExceeded as error:
        return Report(problem="limit", message=str(error))
    except MemoryError:
        return Report(problem="limit", message="unpacking it takes more memory than is allowed")
    except Aborted as error:
        return Report(problem="aborted", message=str(error))
    except OSError as error:
        return Report(problem="os", message=error.strerror or str(error), errno=error.errno or 0)


def _extract(stream: PlainStream, tree: Tree) -> Found:
    reader = TarReader(stream.read)
    while (member := reader.next()) is not None:
        tree.add(member, stream.copy)
    return tree.finish()
