from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from podwright.base.errors import FailedPrecondition
from podwright.base.locks import DirectoryLock, KeyedLocks


async def test_one_holder_a_key() -> None:
    locks, order = KeyedLocks(), list[str]()

    async def hold(key: str, name: str) -> None:
        async with locks.hold(key):
            order.append(f"{name} in")
            await asyncio.sleep(0.01)
            order.append(f"{name} out")

    await asyncio.gather(hold("a", "one"), hold("a", "two"))
    assert order == ["one in", "one out", "two in", "two out"]
    assert not locks._locks, "an idle lock costs nothing"


def test_a_second_daemon_on_the_same_root_is_refused(tmp_path: Path) -> None:
    first = DirectoryLock(tmp_path / "lock")
    with pytest.raises(FailedPrecondition, match=r"another daemon \(pid \d+\).*--root"):
        DirectoryLock(tmp_path / "lock")
    first.release()
    DirectoryLock(tmp_path / "lock").release()
