"""Disk usage is told from memory; counting happens in the background, one layer at a time."""

from __future__ import annotations

import asyncio
import threading

from podwright.base.errors import NotFound
from podwright.base.tasks import Tasks
from podwright.container.disk import DiskUsage, WritableLayers
from podwright.snapshot.base import Usage


class Layers:
    """Layers whose counts take until they are let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.let_go.set()
        self.counted: list[str] = []
        self.at_once = self.most_at_once = 0

    def usage(self, key: str) -> Usage:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.counted.append(key)
        self.let_go.wait(20)
        self.at_once -= 1
        if key == "gone":
            raise NotFound("gone")
        return Usage(4096, len(self.counted))


async def settled(tasks: Tasks) -> None:
    await tasks.drain(20)
    assert len(tasks) == 0


async def test_a_question_never_waits() -> None:
    snapshots, tasks = Layers(), Tasks("test")
    layers = WritableLayers(snapshots.usage, tasks, interval_s=60)
    snapshots.let_go.clear()
    assert layers.latest("a") is None
    assert layers.latest("a") is None
    snapshots.let_go.set()
    await settled(tasks)
    assert snapshots.counted == ["a"]
    found = layers.latest("a")
    assert found is not None
    assert found == DiskUsage(found.timestamp_ns, 4096, 1)
    assert found.timestamp_ns > 0
    await settled(tasks)
    assert snapshots.counted == ["a"]


async def test_layers_are_counted_one_after_the_other() -> None:
    snapshots, tasks = Layers(), Tasks("test")
    layers = WritableLayers(snapshots.usage, tasks, interval_s=60)
    for name in "abcdef":
        layers.latest(name)
    await settled(tasks)
    assert sorted(snapshots.counted) == list("abcdef")
    assert snapshots.most_at_once == 1


async def test_a_count_that_is_old_is_told_while_it_is_renewed() -> None:
    snapshots, tasks = Layers(), Tasks("test")
    layers = WritableLayers(snapshots.usage, tasks, interval_s=0)
    layers.latest("a")
    await settled(tasks)
    while len(snapshots.counted) < 2:  # the rest of a count that took microseconds is as short
        first = layers.latest("a")
        await asyncio.sleep(0)
    assert first is not None
    assert first.inodes == 1
    await settled(tasks)


async def test_a_layer_that_goes_while_it_is_counted() -> None:
    snapshots, tasks = Layers(), Tasks("test")
    layers = WritableLayers(snapshots.usage, tasks, interval_s=60)
    assert layers.latest("gone") is None
    layers.forget("gone")
    await settled(tasks)
    assert layers.latest("gone") is None
    layers.forget("never seen")
    await settled(tasks)


async def test_new_layers_can_be_waited_for_and_old_ones_are_not() -> None:
    snapshots, tasks = Layers(), Tasks("test")
    layers = WritableLayers(snapshots.usage, tasks, interval_s=60)
    await layers.count_new(["a", "b", "gone"], timeout_s=20)
    assert [layers.latest(name) is not None for name in ("a", "b", "gone")] == [True, True, False]
    await layers.count_new(["a", "b"], timeout_s=20)
    assert sorted(snapshots.counted) == ["a", "b", "gone"]
    await settled(tasks)


async def test_waiting_for_a_layer_that_takes_long_has_an_end() -> None:
    snapshots, tasks = Layers(), Tasks("test")
    layers = WritableLayers(snapshots.usage, tasks, interval_s=60)
    snapshots.let_go.clear()
    await layers.count_new(["a"], timeout_s=0.01)
    assert layers.latest("a") is None
    snapshots.let_go.set()
    await settled(tasks)
    assert layers.latest("a") is not None
