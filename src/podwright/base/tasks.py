"""The one door to background tasks.

The event loop keeps only weak references to tasks, and a task nobody awaits loses its exception. A `Tasks`
keeps its tasks, names them, logs what they raise, and ends them at shutdown. `shielded` runs work that must
finish even when its caller is cancelled: undo, kill, whatever would leak if it stopped half-way.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from podwright.base.log import get_logger

log = get_logger(__name__)
T = TypeVar("T")


class Tasks:
    """The background tasks of one owner. `close` cancels those that are left and waits for them."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._running: set[asyncio.Task[Any]] = set()
        self._awaited: Counter[asyncio.Task[Any]] = Counter()

    def start(self, work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """Run `work` in the background; an exception that nobody waits for is logged once, here."""
        task = asyncio.get_running_loop().create_task(work, name=f"{self._owner}/{name}")
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def join(self, task: asyncio.Task[T]) -> T:
        """Await a task of ours; whoever does so gets its exception. One that is cancelled leaves it running."""
        self._awaited[task] += 1
        try:
            return await asyncio.shield(task)
        finally:
            self._awaited[task] -= 1
            if not self._awaited[task]:
                del self._awaited[task]

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and task not in self._awaited:
            log.error("background task failed", task=task.get_name(), error=repr(error))

    async def drain(self, timeout_s: float) -> None:
        """Wait until all tasks have ended by themselves, at most `timeout_s`."""
        if self._running:
            await asyncio.wait(set(self._running), timeout=timeout_s)

    async def close(self) -> None:
        """Cancel what is left and wait until it has ended."""
        for task in set(self._running):
            task.cancel()
        if self._running:
            await asyncio.gather(*self._running, return_exceptions=True)

    def __len__(self) -> int:
        return len(self._running)


_detached: set[asyncio.Task[Any]] = set()


async def shielded(work: Coroutine[Any, Any, T], *, name: str) -> T:
    """Run `work` to its end even when the caller is cancelled; the caller then still sees CancelledError."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    _detached.add(task)
    task.add_done_callback(_forget)
    return await asyncio.shield(task)


def _forget(task: asyncio.Task[Any]) -> None:
    _detached.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.debug("shielded work failed", task=task.get_name(), error=repr(error))


async def gather_all(*works: Coroutine[Any, Any, T], limit: int = 0, name: str = "gather") -> list[T]:
    """Run all, at most `limit` at a time (0: no limit); the first error cancels the rest and is raised alone."""
    gate = asyncio.Semaphore(limit) if limit else None

    async def gated(work: Coroutine[Any, Any, T]) -> T:
        if gate is None:
            return await work
        async with gate:
            return await work

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(gated(work), name=name) for work in works]
    except BaseExceptionGroup as failed:
        raise first_error(failed) from failed
    return [task.result() for task in tasks]


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first leaf of an exception group: what a caller who thinks of one operation wants to see."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Run blocking `function` in the loop's thread pool."""
    return await asyncio.get_running_loop().run_in_executor(None, function, *args)


async def in_stoppable_thread(function: Callable[[threading.Event], T]) -> T:
    """Run `function(stop)` in the loop's thread pool. When the caller is cancelled `stop` is set, and this returns only
    when the thread has ended: so what the thread works on may be taken away then."""
    stop = threading.Event()
    work = asyncio.get_running_loop().run_in_executor(None, function, stop)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        stop.set()
        await shielded(_settled(work), name="end of a stopped thread")
        raise


async def _settled(work: asyncio.Future[Any]) -> None:
    await asyncio.wait({work})
    if not work.cancelled():
        work.exception()  # fetched, so that nobody logs it
