from __future__ import annotations

import asyncio

import pytest

from podwright.base.tasks import Tasks
from podwright.base.undo import Undo


async def test_steps_run_in_reverse_and_a_failing_one_does_not_stop_the_others() -> None:
    ran: list[str] = []

    def fail() -> None:
        raise OSError("busy")

    async def later() -> None:
        ran.append("async")

    undo = Undo("thing")
    with pytest.raises(ValueError, match="boom"):  # noqa: PT012 - the block is what is tested
        async with undo:
            undo.add("first", lambda: ran.append("first"))
            undo.add("second", fail)
            undo.add("third", later)
            raise ValueError("boom")
    assert ran == ["async", "first"]
    assert undo.failed == ["second"]


async def test_keep_forgets_the_steps() -> None:
    async with Undo("thing") as undo:
        undo.add("never", lambda: pytest.fail("ran"))
        undo.keep()


async def test_undo_runs_to_its_end_when_the_caller_is_cancelled_twice() -> None:
    finished = asyncio.Event()
    started = asyncio.Event()

    async def slow() -> None:
        started.set()
        await asyncio.sleep(0.05)
        finished.set()

    async def work() -> None:
        async with Undo("thing") as undo:
            undo.add("slow", slow)
            await asyncio.sleep(60)

    tasks = Tasks("test")
    task = tasks.start(work(), name="work")
    await asyncio.sleep(0.01)
    task.cancel()
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(finished.wait(), 1)
