"""Layers unpacked out of process: the daemon's end of the layer worker.

`Unpacker.unpack` hands a blob's descriptor and an empty directory to the worker and waits for the report; a blob
that is still being downloaded is followed through a pipe that announces how much is there. The worker is started
when first needed (`warm` does so ahead), ends when idle, and is replaced when it dies. Nothing here parses a layer.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from podwright.base.errors import Internal, InvalidArgument, PodwrightError, ResourceExhausted, Unavailable
from podwright.base.log import get_logger
from podwright.base.tasks import Tasks, shielded
from podwright.linux import process
from podwright.snapshot.layerjob import COMPLETE, Ended, Job, Kill, Report
from podwright.snapshot.worker import MAX_MESSAGE_BYTES

log = get_logger(__name__)
_IDLE_S = 60.0
# Ordinary layers report some hundred bytes; only one that leans on lower layers for all it has comes near.
_MAX_REPORT_BYTES = 8 * 1024 * 1024
_DISK_FULL = (28, 122)  # ENOSPC, EDQUOT


class LayerInvalid(InvalidArgument):
    """The layer is no tar archive, is damaged, or holds an entry that no layer may have."""


class DownloadAborted(Unavailable):
    """The blob that was followed did not become complete."""


@dataclass(frozen=True)
class Limits:
    """What one layer may have at most, decompressed."""

    max_bytes: int = 128 * 1024**3
    max_entries: int = 4_000_000


@dataclass(frozen=True)
class BlobSource:
    """A layer's raw bytes. `fd` is open for reading and stays the caller's.

    While the blob still grows, `announced` yields how many bytes are there, and ends when it is complete; an
    exception out of it aborts the unpacking. None: the blob is complete.
    """

    name: str
    fd: int
    announced: AsyncIterator[int] | None = None


class _Connection:
    """One running worker and the jobs it has."""

    def __init__(self, tasks: Tasks) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        with theirs:
            self.process = process.spawn(
                [sys.executable, "-I", "-m", "podwright.snapshot.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stderr=2,
            )
        os.set_blocking(ours.fileno(), False)
        self.socket = ours
        self.jobs: dict[int, asyncio.Future[int]] = {}
        self.reader = tasks.start(self._read(), name="layer worker")

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while message := await loop.sock_recv(self.socket, MAX_MESSAGE_BYTES):
                ended = msgspec.msgpack.decode(message, type=Ended)
                if (job := self.jobs.pop(ended.number, None)) and not job.done():
                    job.set_result(ended.returncode)
        except ConnectionError:
            pass
        finally:
            self.socket.close()
            await shielded(self.process.wait(), name="reap layer worker")
            for job in self.jobs.values():
                if not job.done():
                    job.set_exception(Unavailable("the layer worker died; the pull can be tried again"))
            self.jobs.clear()

    async def send(self, message: Job | Kill, fds: list[int]) -> None:
        """Small messages on an empty socket: one that doesn't fit would wait for the worker to read."""
        data = msgspec.msgpack.encode(message)
        while True:
            try:
                socket.send_fds(self.socket, [data], fds)
            except BlockingIOError:
                await asyncio.sleep(0.01)
            else:
                return

    async def close(self) -> None:
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # closed already, or the worker is gone
        await asyncio.wait([self.reader])


class Unpacker:
    """Unpacks layers, several at a time; the caller says how many."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._tasks = Tasks("layer worker")
        self._worker: _Connection | None = None
        self._numbers = 0
        self._idle: asyncio.TimerHandle | None = None

    def warm(self) -> None:
        """Start the worker if it doesn't run, so that its start-up overlaps with the download."""
        if self._worker is None or self._worker.reader.done():
            self._worker = _Connection(self._tasks)
        self._schedule_idle()

    async def unpack(self, blob: BlobSource, target: Path) -> Report:
        """Unpack a layer into the empty directory `target`. The caller removes what is left after an error.

        Raises LayerInvalid, ResourceExhausted (disk or limits), DownloadAborted, Unavailable (the worker died),
        Internal. An error of `blob.announced` is raised as it is.
        """
        self.warm()
        worker = self._worker
        assert worker is not None
        self._numbers += 1
        number = self._numbers
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        worker.jobs[number] = ended
        report_fd = os.memfd_create("layer report")
        try:
            returncode = await self._run(worker, number, blob, target, report_fd)
            return self._judge(blob, target, returncode, report_fd)
        finally:
            os.close(report_fd)
            self._schedule_idle()

    async def _run(self, worker: _Connection, number: int, blob: BlobSource, target: Path, report_fd: int) -> int:
        job = Job(
            number, os.fspath(target), self._limits.max_bytes, self._limits.max_entries,
            follow=blob.announced is not None,
        )  # fmt: skip
        ended = worker.jobs[number]
        try:
            if blob.announced is None:
                await worker.send(job, [blob.fd, report_fd])
                return await asyncio.shield(ended)
            reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                try:
                    os.set_blocking(reading, True)
                    await worker.send(job, [blob.fd, report_fd, reading])
                finally:
                    os.close(reading)
                return await self._announce(ended, blob.announced, writing)
            finally:
                os.close(writing)
        except BaseException:
            # The child writes into `target` until it is dead, and the caller is about to remove that.
            await shielded(self._kill(worker, number, ended), name="kill layer job")
            raise

    async def _announce(self, ended: asyncio.Future[int], announced: AsyncIterator[int], writing: int) -> int:
        """Tell the child how far the download is, until that is complete or the child has ended."""

        async def tell() -> None:
            async for size in announced:
                _write_number(writing, size)
            while True:
                if _write_number(writing, COMPLETE):
                    return
                await asyncio.sleep(0.01)

        teller = asyncio.ensure_future(tell())  # noqa: TID251 - it ends with this call, which raises its error
        works: list[asyncio.Future[Any]] = [teller, ended]
        try:
            await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                await teller
            return await asyncio.shield(ended)
        finally:
            teller.cancel()
            await asyncio.wait([teller])

    async def _kill(self, worker: _Connection, number: int, ended: asyncio.Future[int]) -> None:
        if not ended.done():
            try:
                await worker.send(Kill(number), [])
            except OSError:
                pass  # the worker is gone, and its children with it
            await asyncio.wait([ended])
        if not ended.cancelled():
            ended.exception()  # fetched, so that nobody logs it

    def _judge(self, blob: BlobSource, target: Path, returncode: int, report_fd: int) -> Report:
        if returncode != 0:
            how = f"signal {-returncode}" if returncode < 0 else f"exit status {returncode}"
            raise Internal(f"layer {blob.name}: the process that unpacked it ended with {how}")
        size = os.fstat(report_fd).st_size
        if size > _MAX_REPORT_BYTES:
            raise ResourceExhausted(f"layer {blob.name}: too much of it depends on the layers beneath")
        report = msgspec.msgpack.decode(os.pread(report_fd, size, 0), type=Report)
        if report.problem:
            raise _error(blob.name, target, report)
        return report

    def _schedule_idle(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(_IDLE_S, self._retire)

    def _retire(self) -> None:
        if self._worker is not None and not self._worker.jobs:
            worker, self._worker = self._worker, None
            self._tasks.start(worker.close(), name="retire")

    async def close(self) -> None:
        """End the worker and what it does."""
        if self._idle is not None:
            self._idle.cancel()
        if self._worker is not None:
            await self._worker.close()
        await self._tasks.drain(5.0)  # one that is just retiring has yet to be reaped
        await self._tasks.close()


def _write_number(fd: int, size: int) -> bool:
    """False when the pipe is full: the child is behind by 8,000 announcements, and a later one tells it all."""
    try:
        os.write(fd, size.to_bytes(8, "little"))
    except BlockingIOError:
        return False
    except BrokenPipeError:
        pass  # it has ended, and how it did says why
    return True


def _error(name: str, target: Path, report: Report) -> PodwrightError:
    if report.problem == "invalid":
        return LayerInvalid(f"layer {name}: {report.message}")
    if report.problem == "limit":
        return ResourceExhausted(f"layer {name}: {report.message}")
    if report.problem == "aborted":
        return DownloadAborted(f"layer {name}: {report.message}")
    if report.errno in _DISK_FULL:
        return ResourceExhausted(
            f"layer {name}: no space left for {target.parent}: free space on its file system or remove images"
        )
    return Internal(f"layer {name}: {report.message}")
