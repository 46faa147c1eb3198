"""Progress: what watchers see."""

from __future__ import annotations

import asyncio

from podwright.image.progress import Phase, ProgressBoard, PullProgress
from podwright.oci.digest import Digest

A, B = Digest("sha256:" + "a" * 64), Digest("sha256:" + "b" * 64)


async def test_a_watcher_sees_the_whole_pull() -> None:
    board = ProgressBoard()
    seen: list[PullProgress] = []

    async def watch() -> None:
        seen.extend([state async for state in board.watch("img")])

    async with asyncio.TaskGroup() as group:
        group.create_task(watch())
        await asyncio.sleep(0)
        tracker = board.begin("img")
        tracker.layers_known([(A, 100), (B, 50)])
        tracker.phase(1, Phase.EXISTS)
        tracker.phase(0, Phase.FETCHING)
        tracker.arrived(0, 70)
        await asyncio.sleep(0.01)
        assert board.running() == [tracker.state]
        tracker.arrived(0, 90)
        assert tracker.state.layers[0].bytes_done == 100, "never more than all"
        tracker.arrived(0, -100)
        tracker.phase(0, Phase.DONE)
        tracker.finish()
        board.end(tracker)
    assert (seen[0].bytes_done, seen[0].bytes_total) == (120, 150)
    assert [layer.phase for layer in seen[0].layers] == [Phase.FETCHING, Phase.EXISTS]
    assert seen[-1].finished
    assert seen[-1].bytes_done == 150
    assert board.running() == []


async def test_a_later_pull_of_the_same_name_takes_the_board() -> None:
    board = ProgressBoard()
    first, second = board.begin("img"), board.begin("img")
    board.end(first)
    assert board.running() == [second.state]
