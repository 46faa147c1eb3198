"""SIGKILL in the middle of pulls: of the layer worker, and of the whole process that pulls."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from podwright.linux import process
from tests.root.image.conftest import Room
from tests.root.image.test_pull import layer
from tests.support.names import unique
from tests.support.registry import Registry, push_image

pytestmark = pytest.mark.root

PULLER = """
import asyncio, sys
from pathlib import Path
from tests.root.image.conftest import Room

async def main():
    room = Room(Path(sys.argv[1]))
    await room.images.recover()
    print("ready", flush=True)
    await room.images.pull(sys.argv[2])
    print("pulled", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_a_pull_survives_the_death_of_its_worker(room: Room, registry: Registry) -> None:
    pushed = push_image(registry, unique("app"), "v1", [layer("x", 8_000_000)])
    killed = 0

    async def kill() -> None:
        nonlocal killed
        while not killed:
            worker = room.snapshots._unpacker._worker
            if worker is not None and worker.jobs:
                os.kill(worker.process.pid, signal.SIGKILL)
                killed += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        killer = group.create_task(kill())
        record = await room.images.pull(registry.reference(pushed.repository, "v1"))
        killer.cancel()
    assert killed == 1
    assert room.snapshots.committed(record.diff_ids)


@pytest.mark.parametrize("delay_ms", [0, 10, 25, 50, 100, 200])
async def test_killed_at_any_moment(registry: Registry, tmp_path: Path, delay_ms: int) -> None:
    layers = [layer(str(number), 1_500_000) for number in range(3)]
    pushed = push_image(registry, unique("app"), "v1", layers)
    name = registry.reference(pushed.repository, "v1")
    reading, writing = os.pipe()
    puller = process.spawn([sys.executable, "-c", PULLER, tmp_path, name], stdout=writing, cwd=Path.cwd())
    os.close(writing)
    try:
        await process.readable(reading)
        await asyncio.sleep(delay_ms / 1000)
    finally:
        puller.signal(signal.SIGKILL)
        await puller.wait()
        os.close(reading)
    room = Room(tmp_path)
    await room.images.recover()
    assert room.half_made() == []
    record = room.images.get(name)
    assert record is None or room.snapshots.committed(record.diff_ids)
    again = await room.images.pull(name)
    assert again.id == pushed.config_digest
    room.snapshots.prepare("c", again.diff_ids)
    await room.snapshots.remove("c")
    await room.images.remove(name)
    assert (room.layers(), room.blobs()) == (0, set())
    await room.close()
