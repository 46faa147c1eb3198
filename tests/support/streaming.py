"""For the streaming server's tests: a backend of plain processes and sockets of this host, and clients.

What is under test is how bytes travel and how connections end; containers come with the system tests.
"""

from __future__ import annotations

import asyncio
import subprocess  # noqa: TID251 - plain processes, as simple as can be
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Pong, RejectConnection, TextMessage
from wsproto.events import Request as Handshake

from podwright.base.errors import NotFound, Unavailable
from podwright.base.streams import ProcessStreams, Reader, TerminalSize, Writer
from podwright.base.tasks import Tasks, gather_all
from podwright.streaming.server import StreamingServer
from podwright.streaming.settings import Settings


@dataclass
class HostBackend:
    """Implements `streaming.base.StreamingBackend` with programs and ports of the host."""

    sizes: list[TerminalSize] = field(default_factory=list)
    ended: int = 0
    lost: list[str] = field(default_factory=list)

    async def exec(self, container_id: str, command: Sequence[str], *, terminal: bool, streams: ProcessStreams) -> int:
        if container_id == "missing":
            raise NotFound("no container missing")
        if streams.sizes is not None:
            async for size in streams.sizes:
                self.sizes.append(size)
                if len(self.sizes) > 1:
                    break
        return await self._run(command, streams)

    async def attach(self, container_id: str, *, streams: ProcessStreams) -> None:
        await self._run(["cat"] if streams.stdin else ["sleep", "1000"], streams)

    async def _run(self, command: Sequence[str], streams: ProcessStreams) -> int:
        tasks = Tasks("host backend")
        with tempfile.TemporaryFile() as errors:
            piped = streams.stdin is not None
            popen = subprocess.Popen(
                command, stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=errors, bufsize=0,
            )  # fmt: skip
            try:
                if streams.stdin is not None:
                    assert popen.stdin is not None
                    tasks.start(self._feed(streams.stdin, popen), name="stdin")
                assert popen.stdout is not None
                loop = asyncio.get_running_loop()
                while data := await loop.run_in_executor(None, popen.stdout.read, 65536):
                    if streams.stdout is not None:
                        await streams.stdout.write(data)
                code = await loop.run_in_executor(None, popen.wait)
                errors.seek(0)
                if streams.stderr is not None and (said := errors.read()):
                    await streams.stderr.write(said)
                return code
            finally:
                popen.kill()
                await tasks.close()
                popen.wait()
                for end in (popen.stdin, popen.stdout):
                    if end is not None:
                        end.close()

    async def _feed(self, source: Reader, popen: subprocess.Popen[bytes]) -> None:
        assert popen.stdin is not None
        loop = asyncio.get_running_loop()
        try:
            while data := await source.read():
                await loop.run_in_executor(None, popen.stdin.write, data)
        except ConnectionError as error:
            self.lost.append(str(error))
        popen.stdin.close()

    async def port_forward(self, sandbox_id: str, port: int, *, incoming: Reader, outgoing: Writer) -> None:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError as error:
            raise Unavailable(f"connection to port {port} refused") from error

        async def to_the_port() -> None:
            while data := await incoming.read():
                writer.write(data)
                await writer.drain()
            writer.write_eof()

        async def from_the_port() -> None:
            while data := await reader.read(65536):
                await outgoing.write(data)
            await outgoing.close()

        try:
            await gather_all(to_the_port(), from_the_port())
        finally:
            self.ended += 1
            writer.close()


@asynccontextmanager
async def serving(backend: HostBackend | None = None, **settings: Any) -> AsyncIterator[StreamingServer]:
    """A server on a port of its own."""
    server = StreamingServer(Settings(**settings), backend or HostBackend())
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


class Bytes:
    """A Reader of given bytes, in pieces; waits instead of ending with `endless`."""

    def __init__(self, *pieces: bytes, endless: bool = False) -> None:
        self._pieces, self._endless = list(pieces), endless

    async def read(self) -> bytes:
        if self._pieces:
            return self._pieces.pop(0)
        if self._endless:
            await asyncio.Event().wait()
        return b""


class Collected:
    """A Writer that keeps what it gets."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.closed = False
        self.got_some = asyncio.Event()

    async def write(self, data: bytes) -> None:
        self.data += data
        self.got_some.set()

    async def close(self) -> None:
        self.closed = True


async def sizes(*given: TerminalSize) -> AsyncIterator[TerminalSize]:
    for size in given:
        yield size


class WebSocketClient:
    """A client whose every message the test chooses."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.wire = WSConnection(ConnectionType.CLIENT)
        self.pongs = 0

    @classmethod
    async def connect(cls, url: str, *protocols: str) -> WebSocketClient:
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        self = cls(reader, writer)
        writer.write(self.wire.send(Handshake(host=parts.netloc, target=parts.path, subprotocols=list(protocols))))
        answer = await anext(self._events())
        if isinstance(answer, RejectConnection):
            await self.close()
            raise ConnectionRefusedError(str(answer.status_code))
        assert isinstance(answer, AcceptConnection)
        assert (answer.subprotocol or "") in (protocols or ("",))
        return self

    async def _events(self) -> AsyncIterator[object]:
        while True:
            for event in self.wire.events():
                yield event
            data = await self.reader.read(65536)
            if not data:
                return
            self.wire.receive_data(data)

    async def send(self, data: bytes) -> None:
        self.writer.write(self.wire.send(BytesMessage(data=data)))
        await self.writer.drain()

    async def send_text(self, data: str) -> None:
        self.writer.write(self.wire.send(TextMessage(data=data)))
        await self.writer.drain()

    async def ping(self) -> None:
        self.writer.write(self.wire.send(Ping()))
        await self.writer.drain()

    async def messages(self) -> AsyncIterator[bytes]:
        """Whole messages until the server closes."""
        whole = b""
        async for event in self._events():
            if isinstance(event, BytesMessage | TextMessage):
                whole += event.data.encode() if isinstance(event.data, str) else bytes(event.data)
                if event.message_finished:
                    yield whole
                    whole = b""
            elif isinstance(event, Pong):
                self.pongs += 1
            elif isinstance(event, CloseConnection):
                self.writer.write(self.wire.send(event.response()))
                return

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()
