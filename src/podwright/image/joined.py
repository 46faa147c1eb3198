"""Work that several callers wait for and that ends when the last of them goes away.

Pulls are like that: the kubelet's calls for one image share one pull, and a pull that nobody waits for any more is
not worth the network. (`base.inflight` is for work that must go on without its callers.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from podwright.base.tasks import Tasks

T = TypeVar("T")


@dataclass(frozen=True)
class _Outcome(Generic[T]):
    """What a work gave. An error is the callers' to handle, so the task that carried it did not fail."""

    results: tuple[T, ...]
    error: Exception | None = None

    def get(self) -> T:
        if self.error is not None:
            raise self.error
        return self.results[0]


async def _outcome(work: Coroutine[Any, Any, T]) -> _Outcome[T]:
    try:
        return _Outcome((await work,))
    except Exception as error:
        return _Outcome((), error)


class Joined(Generic[T]):
    """Running works by key."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._running: dict[Hashable, tuple[asyncio.Task[_Outcome[T]], set[object]]] = {}

    async def join(self, key: Hashable, name: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Await the work under `key`, starting it if it doesn't run. The last caller that is cancelled cancels it."""
        if key not in self._running:
            started = self._tasks.start(_outcome(work()), name=name)
            self._running[key] = (started, set())
            started.add_done_callback(lambda done: self._ended(key, done))
        task, waiting = self._running[key]
        me = object()
        waiting.add(me)
        try:
            return (await asyncio.shield(task)).get()
        except asyncio.CancelledError:
            waiting.discard(me)
            if not waiting and not task.done():
                self._ended(key, task)  # whoever asks from now on gets a new one
                task.cancel()
                await asyncio.wait([task])
            raise
        finally:
            waiting.discard(me)

    def _ended(self, key: Hashable, task: asyncio.Task[_Outcome[T]]) -> None:
        entry = self._running.get(key)
        if entry is not None and entry[0] is task:
            del self._running[key]

    def __len__(self) -> int:
        return len(self._running)
