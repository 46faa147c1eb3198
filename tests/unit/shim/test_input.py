"""A fifo that nobody reads yet."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from podwright.base.errors import FailedPrecondition
from podwright.base.tasks import Tasks
from podwright.shim.input import await_reader, open_read


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo"


async def test_the_first_writer_waits_for_the_reader(fifo: Path) -> None:
    with pytest.raises(FailedPrecondition, match="no input any more"):
        open_read(fifo)
    tasks = Tasks("test")
    waiting = tasks.start(await_reader(fifo), name="writer")
    await asyncio.sleep(0.05)
    assert not waiting.done()
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    async with asyncio.timeout(10):
        writers = [await waiting, open_read(fifo)]
    for writer in writers:
        os.write(writer, b"x")
        os.close(writer)
    assert os.read(reader, 10) == b"xx"
    os.close(reader)


async def test_who_waits_may_give_up(fifo: Path) -> None:
    """And leaves no thread behind, nor a descriptor."""
    for _ in range(20):  # more than the thread pool has
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await await_reader(fifo)
    assert [fd for fd in os.listdir("/proc/self/fd") if os.path.realpath(f"/proc/self/fd/{fd}") == str(fifo)] == []
