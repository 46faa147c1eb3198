from __future__ import annotations

import asyncio

import pytest

from podwright.base.inflight import Inflight, Stage
from podwright.base.tasks import Tasks


async def test_second_caller_joins_the_running_work() -> None:
    tasks, started = Tasks("test"), 0
    works: Inflight[int] = Inflight(tasks)
    release = asyncio.Event()

    async def work(stage: Stage) -> int:
        nonlocal started
        started += 1
        stage("waiting")
        await release.wait()
        return 42

    first = tasks.start(works.join("key", "work", work), name="first")
    second = tasks.start(works.join("key", "work", work), name="second")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert works.stage("key") == "waiting"
    assert works.stages() == {"test/work": "waiting"}
    release.set()
    assert (await first, await second) == (42, 42)
    assert started == 1
    assert len(works) == 0


async def test_cancelling_a_caller_leaves_the_work_running() -> None:
    tasks = Tasks("test")
    works: Inflight[str] = Inflight(tasks)
    release, done = asyncio.Event(), asyncio.Event()

    async def work(_stage: Stage) -> str:
        await release.wait()
        done.set()
        return "result"

    caller = tasks.start(works.join("key", "work", work), name="caller")
    await asyncio.sleep(0.01)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert len(works) == 1
    release.set()
    assert await works.join("key", "work", work) == "result"
    assert done.is_set()


async def test_every_caller_gets_the_error_and_the_next_call_starts_afresh() -> None:
    tasks = Tasks("test")
    works: Inflight[int] = Inflight(tasks)
    attempts = 0

    async def work(_stage: Stage) -> int:
        nonlocal attempts
        attempts += 1
        await asyncio.sleep(0)
        if attempts == 1:
            raise ValueError("first")
        return attempts

    results = await asyncio.gather(works.join("k", "w", work), works.join("k", "w", work), return_exceptions=True)
    assert [str(result) for result in results] == ["first", "first"]
    assert await works.join("k", "w", work) == 2
