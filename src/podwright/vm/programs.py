"""The programs beside a keeper: what they say, kept in bounds, and their end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence

from podwright.base.tasks import Tasks
from podwright.linux.process import readable, spawn

_KEPT_BYTES = 16 * 1024


class Tail:
    """The last of what can be read from a descriptor, which is the tail's to close. Reading never stops before the end,
    so that nobody who writes there has to wait."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor, self._kept = descriptor, b""

    async def run(self) -> None:
        try:
            while True:
                try:
                    data = os.read(self._descriptor, _KEPT_BYTES)
                except BlockingIOError:
                    await readable(self._descriptor)
                    continue
                if not data:
                    return
                self._kept = (self._kept + data)[-_KEPT_BYTES:]
        except OSError:
            return
        finally:
            os.close(self._descriptor)

    @property
    def last_line(self) -> str:
        """The last line that says something; '' for none."""
        lines = [line.strip() for line in self._kept.decode(errors="replace").splitlines()]
        return next((line for line in reversed(lines) if line), "")

    @property
    def text(self) -> bytes:
        return self._kept


class Program:
    """One that runs, with descriptors of ours. `tasks` watch it: one waits for its end, whoever wants to know asks that
    one."""

    def __init__(self, argv: Sequence[str], descriptors: Sequence[int], tasks: Tasks) -> None:
        read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
        try:
            process = spawn(argv, stdout=write_fd, stderr=write_fd, pass_fds=descriptors)
        except BaseException:
            os.close(read_fd)
            raise
        finally:
            os.close(write_fd)
        self.pid, self.said = process.pid, Tail(read_fd)
        self._process = process
        self._ended = tasks.start(process.wait(), name=f"end of {argv[0]}")
        tasks.start(self.said.run(), name=f"words of {argv[0]}")

    @property
    def over(self) -> bool:
        return self._ended.done()

    async def ended(self) -> int:
        """Wait for its own end. Its status, negative for a signal."""
        return await asyncio.shield(self._ended)

    async def end(self, *, grace_s: float) -> int:
        """Wait for its own end, then kill it. Its status, negative for a signal."""
        if not self._ended.done():
            await asyncio.wait({self._ended}, timeout=grace_s)
        if not self._ended.done():
            self.kill()
        return await asyncio.shield(self._ended)

    def kill(self) -> None:
        """What has ended already is success."""
        self._process.signal(signal.SIGKILL)
