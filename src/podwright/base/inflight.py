"""Keyed join: many callers, one piece of work.

The kubelet repeats a call whose deadline passed, with the same metadata. The second call must join the work
that is still running or take its result, never start a twin. `Inflight.join` runs the work in a task that no
caller owns: a caller that goes away leaves it running, and the error that a deadline gives names the stage.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from podwright.base.tasks import Tasks

T = TypeVar("T")


class Stage:
    """How far a piece of work has come, in words: `stage("network ready")`."""

    def __init__(self) -> None:
        self.name = "queued"

    def __call__(self, name: str) -> None:
        self.name = name


class Inflight(Generic[T]):
    """Running works by key. A work's result is not kept: a finished work is found in the store."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._running: dict[Hashable, tuple[asyncio.Task[T], Stage]] = {}

    async def join(self, key: Hashable, name: str, work: Callable[[Stage], Coroutine[Any, Any, T]]) -> T:
        """Await the work under `key`, starting it if it does not run. Cancelling the caller leaves it running."""
        running = self._running.get(key)
        if running is None:
            stage = Stage()
            task = self._tasks.start(work(stage), name=name)
            self._running[key] = (task, stage)
            task.add_done_callback(lambda done: self._finished(key, done))
        else:
            task, stage = running
        return await self._tasks.join(task)

    def _finished(self, key: Hashable, task: asyncio.Task[T]) -> None:
        entry = self._running.get(key)
        if entry is not None and entry[0] is task:
            del self._running[key]

    def stage(self, key: Hashable) -> str:
        """The stage the work under `key` has reached, or '' when none runs."""
        entry = self._running.get(key)
        return entry[1].name if entry else ""

    def stages(self) -> dict[str, str]:
        """Task name → stage of everything that runs now; for `Status` and the log."""
        return {task.get_name(): stage.name for task, stage in self._running.values()}

    def __len__(self) -> int:
        return len(self._running)
