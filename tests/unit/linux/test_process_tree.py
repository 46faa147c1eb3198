"""Trees of real processes, killed from above."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from podwright.linux.process import Process, spawn
from podwright.linux.process_tree import kill_below


def _alive(word: str) -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if word.encode() in Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0"):
                found.append(int(name))
        except OSError:
            continue
    return found


async def _tree(script: str, word: str, count: int) -> Process:
    process = spawn(["sh", "-c", script])
    async with asyncio.timeout(5):
        while len(_alive(word)) < count:
            await asyncio.sleep(0.01)
    return process


async def test_children_and_sessions_but_not_itself() -> None:
    word = f"600{time.time_ns() % 10**6}"
    inner = f"setsid sh -c 'sleep {word} & sleep {word}; true' & sh -c 'sleep {word}; true'"
    script = f"trap : TERM; sleep {word} & {inner}; sleep 100"
    process = await _tree(script, word, 4)
    assert await kill_below(process.pid)
    assert _alive(word) == []
    assert Path(f"/proc/{process.pid}").exists()
    await process.kill()


async def test_an_orphan_of_a_session_that_was_seen() -> None:
    """Its parent ends between the rounds; the session tells that it belongs to us."""
    word = f"601{time.time_ns() % 10**6}"
    process = await _tree(f"setsid sh -c 'sleep {word} & sleep {word} & wait' & wait", word, 2)
    assert await kill_below(process.pid)
    assert _alive(word) == []
    await process.kill()


async def test_nothing_below() -> None:
    process = spawn(["sleep", "100"])
    assert await kill_below(process.pid)
    await process.kill()
    assert await kill_below(process.pid)
