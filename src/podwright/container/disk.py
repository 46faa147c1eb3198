"""Disk usage of writable layers: counted in the background, told from memory.

Counting walks all files, and the kubelet asks every 10 s: so a question never waits for a count. Layers are counted
one after the other, in one thread at most, and one that takes long is counted less often.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from podwright.base.errors import NotFound
from podwright.base.tasks import Tasks, in_thread
from podwright.snapshot.base import Usage

_REST = 20
"""A layer that took a second to count is left alone for so many."""


@dataclass(frozen=True)
class DiskUsage:
    """What a layer took at `timestamp_ns` since the epoch."""

    timestamp_ns: int
    bytes: int
    inodes: int


@dataclass
class _Layer:
    due: float = float("-inf")
    latest: DiskUsage | None = None
    counting: asyncio.Task[None] | None = None


class WritableLayers:
    """The layers of containers that somebody has asked for. `count` blocks; it raises NotFound."""

    def __init__(self, count: Callable[[str], Usage], tasks: Tasks, *, interval_s: float) -> None:
        self._counter, self._tasks, self._interval_s = count, tasks, interval_s
        self._layers: dict[str, _Layer] = {}
        self._one = asyncio.Semaphore(1)

    def latest(self, container_id: str) -> DiskUsage | None:
        """The latest count; None while there is none. Starts another when it is time for one."""
        layer = self._layers.setdefault(container_id, _Layer())
        if time.monotonic() >= layer.due:
            layer.due = float("inf")  # while it is counted
            layer.counting = self._tasks.start(self._count(container_id, layer), name=f"disk usage {container_id[:13]}")
        return layer.latest

    async def count_new(self, container_ids: Iterable[str], *, timeout_s: float) -> None:
        """Wait, at most `timeout_s`, until those that were never counted have been."""
        new = [each for each in container_ids if self.latest(each) is None]
        counts = {counting for each in new if (counting := self._layers[each].counting) is not None}
        if counts:
            await asyncio.wait(counts, timeout=timeout_s)

    async def _count(self, container_id: str, layer: _Layer) -> None:
        async with self._one:
            started = time.monotonic()
            try:
                usage = await in_thread(self._counter, container_id)
            except (NotFound, FileNotFoundError):
                return  # removed meanwhile
            finally:
                layer.counting = None
                took_s = time.monotonic() - started
                layer.due = started + max(self._interval_s, _REST * took_s)
        layer.latest = DiskUsage(time.time_ns(), usage.bytes, usage.inodes)

    def forget(self, container_id: str) -> None:
        self._layers.pop(container_id, None)
