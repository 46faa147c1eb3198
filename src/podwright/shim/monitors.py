"""The monitor of each container: conmon, or the shim that it is in. Implements `monitor.base.Monitor`.

What a runtime gives to create a container decides; afterwards, where the container is. So a container keeps its monitor
when its handler is configured otherwise, or no more.
"""

from __future__ import annotations

from pathlib import Path

from podwright.base.streams import ProcessStreams
from podwright.monitor.base import Exit, Launch, Monitor, Monitored
from podwright.shim.monitor import ShimMonitor
from podwright.shim.program import ShimCommand


class Monitors:
    def __init__(self, conmon: Monitor, shims: ShimMonitor) -> None:
        self._conmon, self._shims = conmon, shims

    def _of(self, container_id: str, bundle: Path) -> Monitor:
        return self._shims if self._shims.has(container_id, bundle) else self._conmon

    def _watching(self, monitored: Monitored) -> Monitor:
        return self._of(monitored.container_id, Path(monitored.bundle))

    async def create(self, launch: Launch) -> Monitored:
        monitor = self._shims if isinstance(launch.command, ShimCommand) else self._conmon
        return await monitor.create(launch)

    async def wait_exit(self, monitored: Monitored) -> Exit:
        return await self._watching(monitored).wait_exit(monitored)

    async def exit_now(self, monitored: Monitored) -> Exit | None:
        return await self._watching(monitored).exit_now(monitored)

    def forget(self, container_id: str) -> None:
        for monitor in (self._conmon, self._shims):
            monitor.forget(container_id)

    async def abandon(self, container_id: str, bundle: Path) -> None:
        await self._of(container_id, bundle).abandon(container_id, bundle)

    async def reopen_log(self, monitored: Monitored) -> None:
        await self._watching(monitored).reopen_log(monitored)

    async def resize(self, monitored: Monitored, *, width: int, height: int) -> None:
        await self._watching(monitored).resize(monitored, width=width, height=height)

    async def attach(self, monitored: Monitored, streams: ProcessStreams, *, stdin: bool, stdin_once: bool) -> None:
        await self._watching(monitored).attach(monitored, streams, stdin=stdin, stdin_once=stdin_once)
