"""Orphans are collected, our own children are left to their owners."""

from __future__ import annotations

import asyncio
from pathlib import Path

from podwright.linux.orphans import Orphans
from podwright.linux.process import is_child, run, spawn


async def test_a_dead_orphan_is_collected() -> None:
    orphans = Orphans()
    try:
        done = await run(["sh", "-c", "(sleep 0.1; exit 3) >/dev/null 2>&1 & echo $!"])
        orphan = Path(f"/proc/{int(done.stdout)}")
        assert orphan.exists()
        async with asyncio.timeout(5):
            while orphan.exists():
                await asyncio.sleep(0.01)
    finally:
        orphans.close()


async def test_children_keep_their_status() -> None:
    orphans = Orphans()
    try:
        processes = [spawn(["sh", "-c", f"exit {code}"]) for code in range(5)]
        assert all(is_child(process.pid) for process in processes)
        await asyncio.sleep(0.2)
        assert [await process.wait() for process in processes] == list(range(5))
        assert not any(is_child(process.pid) for process in processes)
    finally:
        orphans.close()
