"""Background tasks: who gets their errors."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from podwright.base.inflight import Inflight, Stage
from podwright.base.tasks import Tasks


async def fail(_stage: Stage | None = None) -> None:
    await asyncio.sleep(0.01)
    raise ValueError("no")


async def test_an_error_that_nobody_waits_for_is_logged() -> None:
    tasks = Tasks("test")
    with capture_logs() as logged:
        tasks.start(fail(), name="work")
        await tasks.drain(5)
        await asyncio.sleep(0)
    assert [(entry["event"], entry["task"]) for entry in logged] == [("background task failed", "test/work")]


async def test_an_error_that_somebody_gets_is_not_logged() -> None:
    tasks = Tasks("test")
    inflight: Inflight[None] = Inflight(tasks)
    with capture_logs() as logged:
        both = await asyncio.gather(*(inflight.join("key", "work", fail) for _ in range(2)), return_exceptions=True)
        with pytest.raises(ValueError, match="no"):
            await tasks.join(tasks.start(fail(), name="other"))
    assert [type(error) for error in both] == [ValueError, ValueError]
    assert logged == []


async def test_an_error_whose_callers_have_gone_is_logged() -> None:
    tasks = Tasks("test")
    inflight: Inflight[None] = Inflight(tasks)
    with capture_logs() as logged:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await inflight.join("key", "work", fail)
        await tasks.drain(5)
        await asyncio.sleep(0)
    assert [entry["task"] for entry in logged] == ["test/work"]
