"""Attach: a connection to the engine for each client, which is read whether the client keeps up or not.

Docker stops a container's output, and its log, once a connection that it writes to takes no more; so a client that
falls too far behind is detached, and nobody else waits for it.
"""

from __future__ import annotations

import asyncio

from podwright.base.errors import FailedPrecondition, Internal
from podwright.base.streams import ProcessStreams
from podwright.base.tasks import first_error
from podwright.container.model import Container
from podwright.docker.collaborators import Collaborators
from podwright.docker.container.output import DETACH_KEYS, output
from podwright.docker.errors import NoSuchObject
from podwright.docker.hijack import Hijacked
from podwright.docker.naming import container_name
from podwright.monitor.attach import Client, converse
from podwright.wire.docker_stream import Stream

_CLIENTS_NUMBERS = {Stream.STDOUT: 2, Stream.STDERR: 3}
"""How `monitor.attach.Client` numbers streams."""


async def attach(on: Collaborators, container: Container, streams: ProcessStreams) -> None:
    """Until the container ends or the client goes away. Raises FailedPrecondition, ResourceExhausted (too slow)."""
    config, name = container.config, container_name(container)
    query = {
        "stream": True, "stdout": True, "stderr": True, "stdin": config.stdin and streams.stdin is not None,
        "detachKeys": DETACH_KEYS,
    }  # fmt: skip
    try:
        connection = await on.engine.hijack(f"/containers/{name}/attach", None, query)
    except NoSuchObject as error:
        raise FailedPrecondition(f"container {container.id[:13]} is not in Docker any more") from error
    client = Client(streams, on.monitor_settings.attach_lag_max_bytes)

    async def resize(width: int, height: int) -> None:
        await _resize(on, name, width, height)

    try:
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(_pass_on(connection, client, terminal=config.tty), name="attach output")
            target = _Input(connection) if config.stdin else None
            await converse(client, streams, target, once=config.stdin_once, resize=resize)
            reading.cancel()
    except BaseExceptionGroup as failed:
        raise first_error(failed) from failed
    finally:
        connection.close()


async def _pass_on(connection: Hijacked, client: Client, *, terminal: bool) -> None:
    try:
        async for stream, data in output(connection, terminal=terminal):
            if stream in _CLIENTS_NUMBERS:
                client.put(_CLIENTS_NUMBERS[stream], data)
    except ConnectionError:
        return  # the engine is restarting: its clients are let go
    finally:
        client.end()


class _Input:
    """Implements `monitor.attach.Input`."""

    def __init__(self, connection: Hijacked) -> None:
        self._connection = connection

    async def send(self, data: bytes) -> None:
        try:
            await self._connection.write(data)
        except ConnectionError:
            return

    async def end_input(self) -> None:
        self._connection.end_input()


async def _resize(on: Collaborators, name: str, width: int, height: int) -> None:
    try:
        await on.engine.do("POST", f"/containers/{name}/resize", query={"w": width, "h": height})
    except (NoSuchObject, FailedPrecondition, Internal):
        return  # it does not run yet, or any more
