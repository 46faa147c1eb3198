"""The undo stack: register the undo before the do, run them in reverse when the work fails.

Undo steps are idempotent, so that a step whose do never happened does no harm. They run shielded from
cancellation, each with the rest of one deadline. A step that fails is logged and remembered, and the next ones
still run: the caller keeps the record then, and the same functions, called by Stop and Remove, finish the job.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import TracebackType

from podwright.base.log import get_logger
from podwright.base.tasks import shielded

log = get_logger(__name__)


class Undo:
    """`async with Undo("run sandbox") as undo: undo.add("delete netns", unpin); pin(); …; undo.keep()`.

    Leaving the block without `keep()`, by exception or not, runs the steps in reverse. `failed` lists the
    steps that could not be undone.
    """

    def __init__(self, what: str, *, timeout_s: float = 60.0) -> None:
        self._what = what
        self._timeout_s = timeout_s
        self._steps: list[tuple[str, Callable[[], Awaitable[object] | object]]] = []
        self.failed: list[str] = []

    def add(self, name: str, step: Callable[[], Awaitable[object] | object]) -> None:
        """Register how to undo what comes next. `step` may be sync or async; it must be idempotent."""
        self._steps.append((name, step))

    def keep(self) -> None:
        """The work is done: forget all steps."""
        self._steps.clear()

    async def __aenter__(self) -> Undo:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._steps:
            await shielded(self._run(error), name=f"undo {self._what}")

    async def _run(self, error: BaseException | None) -> None:
        log.info("undoing", what=self._what, because=repr(error) if error else None, steps=len(self._steps))
        deadline = time.monotonic() + self._timeout_s
        while self._steps:
            name, step = self._steps.pop()
            try:
                async with asyncio.timeout(max(1.0, deadline - time.monotonic())):
                    result = step()
                    if isinstance(result, Awaitable):
                        await result
            except Exception as failure:
                self.failed.append(name)
                log.warning("undo step failed", what=self._what, step=name, error=repr(failure))
