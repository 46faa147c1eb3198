"""Attached clients of containers: one connection to a monitor's attach socket each, shared by all of its clients.

Facts of conmon (2.1.6 and later) that shape this file. It writes output to its connections before it does anything
else, and waits while one of them is full: a slow reader would stop the container's log, and the container. So the
connection is always read here, and each client has a queue of its own with a limit. It notices that a connection is
gone only when it next writes to it, so that connections to a silent container pile up: one is kept and used again.
And it closes the container's standard input when any connection ends, if the container was created with `stdin_once`.

Packets from conmon begin with a byte for the stream; those to conmon are input, at most 32,767 bytes.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Protocol

from podwright.base.errors import FailedPrecondition, ResourceExhausted
from podwright.base.streams import ProcessStreams, Reader, TerminalSize, Writer
from podwright.base.tasks import first_error
from podwright.linux.descriptors import writable
from podwright.linux.unix_sockets import connect_seqpacket
from podwright.monitor.base import Monitored
from podwright.monitor.input_pipe import has_reader

_STDOUT, _STDERR = 2, 3
# conmon's STDIO_BUF_SIZE and the byte for the stream.
_PACKET_BYTES = 8192 + 1
_INPUT_BYTES = 16 * 1024
_WRITE_BYTES = 64 * 1024
# So many packets are taken before others have their turn in the event loop.
_PACKETS_A_TURN = 32

Resize = Callable[[int, int], Awaitable[None]]
"""Sets the size of the container's terminal: width, height."""


class Client:
    """One who is attached: output that has come and that it has not taken yet, at most `lag_limit_bytes`."""

    def __init__(self, streams: ProcessStreams, lag_limit_bytes: int) -> None:
        self._writers = {_STDOUT: streams.stdout, _STDERR: streams.stderr}
        self._limit = lag_limit_bytes
        self._queue: deque[tuple[Writer, bytes]] = deque()
        self._lag = 0
        self._ended = False
        self._changed = asyncio.Event()
        self._too_slow = asyncio.Event()

    def put(self, stream: int, data: bytes) -> None:
        """Output of the container."""
        writer = self._writers.get(stream)
        if writer is None or self._too_slow.is_set():
            return
        if self._lag + len(data) > self._limit:
            self._queue.clear()
            self._too_slow.set()
            return
        self._lag += len(data)
        self._queue.append((writer, data))
        self._changed.set()

    def end(self) -> None:
        """There will be no more output."""
        self._ended = True
        self._changed.set()

    async def deliver(self) -> None:
        """Write until the end, and close the writers. Raises ConnectionError when the client has gone."""
        while True:
            while self._queue:
                writer, data = self._next()
                await writer.write(data)
                self._lag -= len(data)
            if self._ended:
                break
            self._changed.clear()
            await self._changed.wait()
        for last in self._writers.values():
            if last is not None:
                await last.close()

    async def require_pace(self) -> None:
        """Raises ResourceExhausted once the client is too slow."""
        await self._too_slow.wait()
        raise ResourceExhausted(
            f"this client fell more than {self._limit} bytes behind the container's output, which does not wait for "
            "it: attach again; the container's log has all of it"
        )

    def _next(self) -> tuple[Writer, bytes]:
        """Packets in a row for the same stream, in one piece."""
        writer, data = self._queue.popleft()
        pieces, size = [data], len(data)
        while self._queue and self._queue[0][0] is writer and size < _WRITE_BYTES:
            pieces.append(self._queue.popleft()[1])
            size += len(pieces[-1])
        return writer, b"".join(pieces)


class Connection:
    """To the attach socket of one container; lives until the container ends, or nobody needs it any more.

    Without clients it is let go of as soon as output comes, for conmon forgets it at the next. `hold_input`: its end
    would close the container's standard input.
    """

    def __init__(
        self, connection: socket.socket, monitor_pid: int, *, hold_input: bool, gone: Callable[[], None]
    ) -> None:
        self._socket, self._monitor_pid, self._gone = connection, monitor_pid, gone
        self._hold_input = hold_input
        self._input_open = True
        self._sending = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self.clients: set[Client] = set()
        self._loop.add_reader(connection, self._readable)

    def _readable(self) -> None:
        for _ in range(_PACKETS_A_TURN):
            try:
                packet = self._socket.recv(_PACKET_BYTES)
            except BlockingIOError:
                return
            except ConnectionError:
                packet = b""
            for client in self.clients:
                if packet:
                    client.put(packet[0], packet[1:])
                else:
                    client.end()
            if not packet or not (self.clients or self._hold_input):
                self._close()
                return

    def _close(self) -> None:
        self._gone()
        self._loop.remove_reader(self._socket)
        self._socket.close()
        self._input_open = False

    async def send(self, data: bytes) -> None:
        """Input for the container, waiting until it is taken. What nobody can read any more is thrown away."""
        for start in range(0, len(data), _INPUT_BYTES):
            async with self._sending:
                await self._send(data[start : start + _INPUT_BYTES])

    async def _send(self, packet: bytes) -> None:
        while self._input_open and has_reader(self._monitor_pid):
            try:
                self._socket.send(packet)
                return
            except BlockingIOError:
                await writable(self._socket.fileno())
            except OSError:
                self._input_open = False

    async def end_input(self) -> None:
        """Half-close: conmon then closes the container's standard input."""
        if self._input_open:
            self._input_open = self._hold_input = False
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                return  # the container has ended


class Attachments:
    """The connections to all containers that have, or had, attached clients."""

    def __init__(self, lag_limit_bytes: int) -> None:
        self._limit = lag_limit_bytes
        self._connections: dict[str, Connection] = {}

    def __len__(self) -> int:
        return len(self._connections)

    async def attach(
        self, monitored: Monitored, path: Path, streams: ProcessStreams, *, stdin: bool, stdin_once: bool,
        resize: Resize,
    ) -> None:  # fmt: skip
        """Until the container ends or the client goes away; see `base.Monitor.attach`."""
        connection = self._connect(monitored, path, hold_input=stdin and stdin_once)
        client = Client(streams, self._limit)
        connection.clients.add(client)
        target = connection if stdin else None
        try:
            await converse(client, streams, target, once=stdin_once, resize=resize)
        finally:
            connection.clients.discard(client)

    def _connect(self, monitored: Monitored, path: Path, *, hold_input: bool) -> Connection:
        container_id = monitored.container_id
        connection = self._connections.get(container_id)
        if connection is None:
            try:
                opened = connect_seqpacket(path)
            except OSError as error:
                raise FailedPrecondition(
                    f"container {container_id[:13]} can't be attached to, its monitor does not answer: {error.strerror}"
                ) from error
            connection = self._connections[container_id] = Connection(
                opened, monitored.monitor.pid, hold_input=hold_input, gone=lambda: self._forget(container_id)
            )
        return connection

    def _forget(self, container_id: str) -> None:
        self._connections.pop(container_id, None)


class Input(Protocol):
    """The standard input of a container."""

    async def send(self, data: bytes) -> None:
        """Returns when it is taken. What nobody can read any more is thrown away."""
        ...

    async def end_input(self) -> None:
        """There will be no more. Idempotent."""
        ...


async def converse(
    client: Client, streams: ProcessStreams, target: Input | None, *, once: bool, resize: Resize
) -> None:  # fmt: skip
    """Carry a client's streams until the container ends or the client goes away. `target` None: it takes no input;
    `once`: its input ends with this client's. Raises ResourceExhausted for a client that is too slow."""
    try:
        async with asyncio.TaskGroup() as group:
            others = [
                group.create_task(client.require_pace(), name="attach pace"),
                group.create_task(_feed(streams.stdin, target, once=once), name="attach input"),
                group.create_task(_resize(streams.sizes, resize), name="attach sizes"),
            ]
            await client.deliver()
            for task in others:
                task.cancel()
    except BaseExceptionGroup as failed:
        error = first_error(failed)
        if not isinstance(error, ConnectionError):
            raise error from failed
    finally:
        if streams.stdin is not None and target is not None and once:
            await target.end_input()


async def _feed(source: Reader | None, target: Input | None, *, once: bool) -> None:
    """The client's input; that for a container which takes none is thrown away, and the client's end noticed."""
    if source is None:
        return
    while data := await source.read():
        if target is not None:
            await target.send(data)
    if target is not None and once:
        await target.end_input()


async def _resize(sizes: AsyncIterator[TerminalSize] | None, resize: Resize) -> None:
    if sizes is not None:
        async for size in sizes:
            try:
                await resize(size.width, size.height)
            except FailedPrecondition:
                return  # the monitor has ended, and the streams will
