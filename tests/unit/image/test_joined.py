"""Joined work: one for all, and over when nobody is left."""

from __future__ import annotations

import asyncio

import pytest

from podwright.base.tasks import Tasks
from podwright.image.joined import Joined


class Work:
    def __init__(self) -> None:
        self.started = self.cancelled = 0
        self.go = asyncio.Event()

    async def __call__(self) -> str:
        self.started += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return "done"


async def test_callers_share_one_work() -> None:
    joined: Joined[str] = Joined(Tasks("test"))
    work = Work()
    callers = [asyncio.ensure_future(joined.join("k", "w", work)) for _ in range(3)]  # noqa: TID251
    await asyncio.sleep(0)
    callers[0].cancel()
    await asyncio.sleep(0)
    work.go.set()
    assert await asyncio.gather(*callers[1:]) == ["done", "done"]
    assert (work.started, work.cancelled, len(joined)) == (1, 0, 0)


async def test_the_last_to_leave_ends_it() -> None:
    joined: Joined[str] = Joined(Tasks("test"))
    work = Work()
    callers = [asyncio.ensure_future(joined.join("k", "w", work)) for _ in range(2)]  # noqa: TID251
    await asyncio.sleep(0.01)
    for caller in callers:
        caller.cancel()
    await asyncio.wait(callers)
    assert (work.cancelled, len(joined)) == (1, 0)
    work.go.set()
    assert await joined.join("k", "w", work) == "done", "whoever asks next gets a new one"


async def test_an_error_reaches_all() -> None:
    joined: Joined[str] = Joined(Tasks("test"))

    async def fail() -> str:
        await asyncio.sleep(0)
        raise ValueError("no")

    results = await asyncio.gather(*(joined.join("k", "w", fail) for _ in range(2)), return_exceptions=True)
    assert [str(result) for result in results] == ["no", "no"]
    with pytest.raises(ValueError, match="no"):
        await joined.join("k", "w", fail)


async def test_other_keys_are_other_works() -> None:
    joined: Joined[str] = Joined(Tasks("test"))
    work = Work()
    work.go.set()
    assert list(await asyncio.gather(joined.join(1, "a", work), joined.join(2, "b", work))) == ["done", "done"]
    assert work.started == 2
