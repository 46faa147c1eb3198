"""Ending containers of the engine; `container/stop.py` says when what is called."""

from __future__ import annotations

import signal

from podwright.container.model import Container
from podwright.criapi import api_pb2 as pb
from podwright.docker.answers import State
from podwright.docker.collaborators import Collaborators
from podwright.docker.container.exits import Exits
from podwright.docker.engine_containers import kill, resume
from podwright.docker.naming import container_name


class EngineEnding:
    """Implements `container.stop.Ending`."""

    def __init__(self, on: Collaborators, exits: Exits) -> None:
        self._on, self._exits = on, exits

    async def give_up(self, container: Container) -> bool:
        """A container that was created has no process before its start."""
        async with self._on.locks.hold(container.id):
            if not container.record.started_at:
                self._exits.record(container, State(exit_code=128 + signal.SIGKILL))
            return container.finished

    async def ask(self, container: Container) -> None:
        await kill(self._on.engine, container_name(container), container.record.stop_signal)

    async def kill(self, container: Container) -> None:
        """The cgroup finds processes that the PID namespace does not, in a pod that shares it."""
        await kill(self._on.engine, container_name(container), signal.SIGKILL)
        if container.config.linux.security_context.namespace_options.pid != pb.CONTAINER:
            await self._on.cgroups.kill_all(container.record.cgroup)

    async def thaw(self, container: Container) -> None:
        await resume(self._on.engine, container_name(container))

    async def ended(self, container: Container) -> None:
        await self._exits.ended(container)
