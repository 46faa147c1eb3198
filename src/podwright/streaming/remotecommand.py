"""One exec or attach on one connection: its streams to the backend, and how it ended to the client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

from podwright.base.errors import PodwrightError
from podwright.base.log import get_logger
from podwright.base.streams import ProcessStreams, Reader, TerminalSize
from podwright.base.tasks import Tasks, shielded
from podwright.streaming.base import Attach, Exec, StreamingBackend
from podwright.streaming.carriers import Carrier
from podwright.wire.remotecommand import ERROR, RESIZE, STDERR, STDIN, STDOUT, Outcome, SizeDecoder, encode_outcome

log = get_logger(__name__)
T = TypeVar("T")

# How long a client may take to read what is left and to close. Closing first would be wrong: what it still sends would
# make the kernel reset the connection and throw away output that it has not read yet.
_FAREWELL_S = 15 * 60.0
_STOPPING = Outcome(error="the runtime is stopping: the connection ends, and with it this command")


class TerminalSizes:
    """Implements `AsyncIterator[TerminalSize]`: the newest size that nobody has seen; a flood of them is one."""

    def __init__(self) -> None:
        self._latest: TerminalSize | None = None
        self._ended = False
        self._changed = asyncio.Event()

    def __aiter__(self) -> AsyncIterator[TerminalSize]:
        return self

    async def __anext__(self) -> TerminalSize:
        while self._latest is None:
            if self._ended:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        size, self._latest = self._latest, None
        return size

    async def follow(self, source: Reader) -> None:
        """Take in what comes on the `resize` stream, until that ends."""
        decoder = SizeDecoder()
        try:
            while data := await source.read():
                self._latest = decoder.feed(data) or self._latest
                self._changed.set()
        except ConnectionError:
            pass  # the end of the connection is the end of sizes
        finally:
            self._ended = True
            self._changed.set()


async def serve(
    carrier: Carrier, request: Exec | Attach, backend: StreamingBackend, *, creation_timeout_s: float
) -> None:
    """Carry out `request`. Returns when the client has closed the connection, or won't."""
    tasks = Tasks("remote command")
    try:
        reading = tasks.start(carrier.run(), name="read")
        async with asyncio.timeout(creation_timeout_s):
            await until_lost(carrier.opened(), reading)
        try:
            outcome = await _outcome(_carry_out(carrier, request, backend, tasks, reading))
        except asyncio.CancelledError:
            # A client that finds no outcome takes that for success.
            await shielded(_say(carrier, _STOPPING, reading, farewell_s=1), name="say that we stop")
            raise
        await _say(carrier, outcome, reading)
    finally:
        await tasks.close()


async def _carry_out(
    carrier: Carrier, request: Exec | Attach, backend: StreamingBackend, tasks: Tasks, reading: asyncio.Task[None]
) -> int:
    sizes: TerminalSizes | None = None
    if (resize := carrier.reader(RESIZE)) is not None:
        sizes = TerminalSizes()
        tasks.start(sizes.follow(resize), name="resize")
    streams = ProcessStreams(carrier.reader(STDIN), carrier.writer(STDOUT), carrier.writer(STDERR), sizes)
    if isinstance(request, Exec):
        return await backend.exec(
            request.container_id, request.command, terminal=request.wanted.terminal, streams=streams
        )
    await until_lost(backend.attach(request.container_id, streams=streams), reading)
    return 0


async def until_lost(work: Awaitable[T], reading: asyncio.Task[None]) -> T:
    """Do `work` for as long as the connection is read; cancels it then, and raises ConnectionError."""
    over = False

    def lost(_reading: asyncio.Task[None]) -> None:
        if not over:
            scope.reschedule(0)

    try:
        async with asyncio.timeout(None) as scope:
            reading.add_done_callback(lost)
            return await work
    except TimeoutError:
        if scope.expired():
            raise ConnectionResetError("the client has left") from None
        raise
    finally:
        over = True
        reading.remove_done_callback(lost)


async def _outcome(work: Awaitable[int]) -> Outcome:
    try:
        return Outcome(await work)
    except (PodwrightError, OSError) as error:
        return Outcome(error=str(error) or type(error).__name__)
    except Exception as error:
        log.exception("exec or attach failed unexpectedly")
        return Outcome(error=f"{type(error).__name__}: {error}")


async def _say(
    carrier: Carrier, outcome: Outcome, reading: asyncio.Task[None], *, farewell_s: float = _FAREWELL_S
) -> None:
    error = carrier.writer(ERROR)
    try:
        async with asyncio.timeout(farewell_s):
            if error is not None and (message := encode_outcome(outcome, carrier.protocol)):
                await error.write(message)
            await carrier.finish()
            await asyncio.wait([reading])
    except (ConnectionError, TimeoutError):
        pass  # nobody listens (any more)
