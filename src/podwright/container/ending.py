"""Ending containers of OCI runtimes; `stop.py` says when what is called."""

from __future__ import annotations

import signal
import time

from podwright.container.collaborators import Collaborators
from podwright.container.exits import Exits
from podwright.container.model import Container
from podwright.criapi import api_pb2 as pb
from podwright.monitor.base import Exit


class RuntimeEnding:
    """Implements `stop.Ending`."""

    def __init__(self, on: Collaborators, exits: Exits) -> None:
        self._on, self._exits = on, exits

    async def give_up(self, container: Container) -> bool:
        """Only one that was to come from a checkpoint can be without a process."""
        if not container.record.restored:
            return False
        async with self._on.locks.hold(container.id):
            if container.awaits_restore:
                await self._exits.record(container, Exit(128 + signal.SIGKILL, time.time_ns()))
                return True
            return container.finished

    async def ask(self, container: Container) -> None:
        runtime = self._on.handlers.runtime(container.record.handler)
        await runtime.kill(container.id, container.record.stop_signal, process=container.process)

    async def kill(self, container: Container) -> None:
        """The cgroup finds processes that the pid namespace does not (a pod that shares its PID namespace); both,
        because a virtual machine has no such cgroup."""
        runtime = self._on.handlers.runtime(container.record.handler)
        await runtime.kill(container.id, signal.SIGKILL, process=container.process)
        if container.config.linux.security_context.namespace_options.pid != pb.CONTAINER:
            await self._on.cgroups.kill_all(container.record.cgroup)

    async def thaw(self, container: Container) -> None:
        await self._on.handlers.runtime(container.record.handler).resume(container.id)

    async def ended(self, container: Container) -> None:
        await self._exits.ended(container)
