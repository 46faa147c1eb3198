"""Creations that may go on side by side, and the moments in which none does: a lock of readers and writers.

A writer that waits keeps new readers out, or it would wait for ever on a busy node.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Sections:
    """`shared` around a creation, `exclusive` around the telling of what there is."""

    def __init__(self) -> None:
        self._open = 0
        self._waiting = 0
        self._exclusive = asyncio.Lock()
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        if self._waiting:
            async with self._changed:
                await self._changed.wait_for(lambda: not self._waiting)
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
            if self._waiting:
                await self._wake()

    @asynccontextmanager
    async def exclusive(self, *, timeout_s: float) -> AsyncIterator[None]:
        """Raises TimeoutError when the open sections don't end within `timeout_s`."""
        self._waiting += 1
        try:
            async with self._exclusive:
                async with asyncio.timeout(timeout_s), self._changed:
                    await self._changed.wait_for(lambda: not self._open)
                yield
        finally:
            self._waiting -= 1
            await self._wake()

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()
