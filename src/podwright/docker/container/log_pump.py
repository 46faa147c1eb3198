"""A container's output from Docker's own log to ours, in the CRI's format, each message once.

Docker's log is what outlives a restart of either of us: it is read from where our file ends. A pump follows it while
the container runs, and reads it once more when the container has ended, because a follower may be told too early that
this was all. What our disk refuses is written when it takes it; until then nothing is read, and Docker keeps it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

from podwright.base.errors import PodwrightError
from podwright.base.log import get_logger
from podwright.docker.container.log_place import SKEW_NS, LogPlaces
from podwright.docker.engine import Engine
from podwright.docker.errors import NoSuchObject
from podwright.monitor.log_file import create_log
from podwright.wire.docker_log import FramedMessages, LogPlace, Message, MessageReader, Resume, TerminalMessages

log = get_logger(__name__)

_AGAIN_S, _AGAIN_MAX_S = 0.05, 2.0
_LAST_MESSAGES = 1000


class LogPump:
    """Of one container. `run` is the work; `container_ended` lets it come to its end."""

    def __init__(
        self, engine: Engine, name: str, *, container_id: str, path: Path, tty: bool, places: LogPlaces
    ) -> None:
        self._engine, self._name, self._id, self._path, self._tty = engine, name, container_id, path, tty
        self._places = places
        self._place = LogPlace()
        self._fd = -1
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Until the container has ended and all of its output is in our file. Cancelling stops it in between."""
        self._place = self._places.find(self._id, self._path)
        self._fd = self._open()
        try:
            await self._follow()
        finally:
            os.close(self._fd)
            self._fd = -1

    async def _follow(self) -> None:
        wait_s = _AGAIN_S
        while True:
            last, took = self._ended.is_set(), False
            try:
                if last:
                    await self._take_rest()
                    self._places.complete(self._id)
                    return
                took = await self._take(follow=True)
            except NoSuchObject:  # somebody removed the container
                self._places.complete(self._id)
                return
            except PodwrightError as error:
                log.debug("a log can't be read now", error=str(error))
            # Docker ends a log that is followed when the container ends, or when Docker itself does.
            wait_s = _AGAIN_S if took else min(2 * wait_s, _AGAIN_MAX_S)
            await self._pause(wait_s)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            return

    def container_ended(self) -> None:
        self._ended.set()

    def reopen(self) -> None:
        """Begin a new file at the path, after somebody renamed the old one. Raises what `create_log` raises."""
        if self._fd >= 0:
            before, self._fd = self._fd, self._open()
            os.close(before)

    def _open(self) -> int:
        create_log(self._path)
        self._places.begin(self._id, self._path, self._place)
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)

    async def _take(self, *, follow: bool) -> bool:
        """Take what is new, to the end of Docker's log. Whether anything was."""
        resume, took = Resume(self._place), False
        async for messages in self._read(follow=follow):
            took = await self._write([m for m in messages if resume.is_new(m)]) or took
        return took

    async def _take_rest(self) -> None:
        """The last messages again, and all since the last one known if that does not reach back to it: Docker reads
        its whole log for those, but only its end for these."""
        resume = Resume(self._place)
        last = [message async for messages in self._read(tail=_LAST_MESSAGES) for message in messages]
        new = [message for message in last if resume.is_new(message)]
        if len(new) < len(last) or len(last) < _LAST_MESSAGES:
            await self._write(new)
        else:
            await self._take(follow=False)

    async def _read(self, *, follow: bool = False, tail: int = 0) -> AsyncIterator[list[Message]]:
        since = max(0, self._place.latest_ns - SKEW_NS)
        query = {
            "stdout": True, "stderr": True, "timestamps": True, "follow": follow, "tail": tail or "all",
            "since": f"{since // 10**9}.{since % 10**9:09d}",
        }  # fmt: skip
        reader: MessageReader = TerminalMessages() if self._tty else FramedMessages()
        async with self._engine.stream("GET", f"/containers/{self._name}/logs", query) as chunks:
            async for data in chunks:
                yield list(reader.feed(data))
        yield list(reader.finish())

    async def _write(self, messages: list[Message]) -> bool:
        """All of them, whole; the place is moved when they are in the file."""
        if messages:
            await self._append(b"".join(map(_line, messages)))
            for message in messages:
                self._place.pass_by(message)
        return bool(messages)

    async def _append(self, data: bytes) -> None:
        """What is refused half-way is taken back: the file holds whole lines whenever others have their turn."""
        complained = False
        while not self._appended(data):
            if not complained:
                log.error("a container's log can't be written; it is tried again", path=str(self._path))
            complained = True
            await asyncio.sleep(_AGAIN_MAX_S)

    def _appended(self, data: bytes) -> bool:
        view, size = memoryview(data), os.fstat(self._fd).st_size
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            os.ftruncate(self._fd, size)
            return False
        return True


def _line(message: Message) -> bytes:
    tag = b"F" if message.whole else b"P"
    return b"%s %s %s %s\n" % (message.time, message.stream.encode(), tag, message.content)
