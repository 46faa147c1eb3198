"""Exec and ExecSync: a process in a running container, with somebody at its streams or with bounded output."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

from podwright.base.log import get_logger
from podwright.base.streams import ProcessStreams, Reader, TerminalSize
from podwright.base.tasks import first_error, shielded
from podwright.container.model import Container
from podwright.container.settings import Settings
from podwright.docker.container.exec_process import ExecProcess, Execs
from podwright.docker.container.output import output
from podwright.linux.pidfd import send_signal
from podwright.runtime.base import DEFAULT_OUTPUT_LIMIT_BYTES, ExecResult
from podwright.wire.docker_stream import Stream

log = get_logger(__name__)

_KILLED = 128 + signal.SIGKILL
_PIPES_HOLD_BYTES = 16 * 1024 * 1024


async def exec_sync(
    execs: Execs, settings: Settings, container: Container, command: Sequence[str], timeout_s: float | None
) -> ExecResult:
    """Run it to its end, and collect its output. On time-out, and when the caller is cancelled, the process and all it
    started are killed and gone before this returns. Raises what `Execs.start` raises."""
    process: ExecProcess | None = None
    captured = {Stream.STDOUT: _Capture(), Stream.STDERR: _Capture()}
    code = _KILLED
    try:
        async with asyncio.timeout(timeout_s):
            process = await execs.start(container, command, terminal=False, stdin=False, stdout=True, stderr=True)
            code = await _collect(process, captured, settings.exec_drain_s)
    except TimeoutError:
        if process is not None:
            await process.kill()
        return _result(_KILLED, captured, timed_out=True)
    except BaseException:
        if process is not None:
            await shielded(process.kill(), name="kill cancelled exec")
        raise
    finally:
        if process is not None:
            process.close()
    return _result(code, captured)


async def exec_interactive(
    execs: Execs, settings: Settings, container: Container, command: Sequence[str], *, terminal: bool,
    streams: ProcessStreams,
) -> int:  # fmt: skip
    """The exit code. Raises what `Execs.start` raises."""
    process = await execs.start(
        container, command, terminal=terminal, stdin=streams.stdin is not None,
        stdout=streams.stdout is not None, stderr=streams.stderr is not None,
    )  # fmt: skip
    try:
        return await _converse(process, streams, settings.exec_drain_s)
    except ConnectionError:
        return await _hang_up(process, settings.exec_hangup_s)
    except BaseException:
        await shielded(process.kill(), name="kill cancelled exec")
        raise
    finally:
        process.close()


class _Capture:
    """One stream's output, the first bytes of it; the rest is read and thrown away."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.truncated = False

    def take(self, data: bytes) -> None:
        room = DEFAULT_OUTPUT_LIMIT_BYTES - len(self.data)
        self.truncated = self.truncated or len(data) > room
        self.data += data[:room]


def _result(code: int, captured: dict[Stream, _Capture], *, timed_out: bool = False) -> ExecResult:
    out, err = captured[Stream.STDOUT], captured[Stream.STDERR]
    return ExecResult(code, bytes(out.data), bytes(err.data), timed_out, truncated=out.truncated or err.truncated)


class _Reading:
    """Reads a process's connection. After the process has ended it waits no longer than `drain_s` altogether, and takes
    no more than pipes may hold: a child that was left behind may keep it open."""

    def __init__(self, process: ExecProcess, drain_s: float) -> None:
        self._connection, self._left_s = process.connection, drain_s
        self._ended, self._left_bytes = False, _PIPES_HOLD_BYTES
        self._limit: asyncio.Timeout | None = None

    def process_ended(self) -> None:
        self._ended = True
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time() + self._left_s)

    async def read(self) -> bytes:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(self._left_s if self._ended else None) as self._limit:
                data = await self._connection.read()
        except TimeoutError:
            return b""
        finally:
            self._limit = None
        if self._ended:
            self._left_s -= loop.time() - began
            self._left_bytes -= len(data)
        return data if self._left_s > 0 and self._left_bytes > 0 else b""


async def _collect(process: ExecProcess, captured: dict[Stream, _Capture], drain_s: float) -> int:
    async def take(reading: _Reading) -> None:
        async for stream, data in output(process.connection, terminal=False, read=reading.read):
            if stream in captured:
                captured[stream].take(data)

    return await _attended(process, take, drain_s)


async def _converse(process: ExecProcess, streams: ProcessStreams, drain_s: float) -> int:
    """Carry the client's streams. Raises ConnectionError when the client has gone."""
    writers = {Stream.STDOUT: streams.stdout, Stream.STDERR: streams.stderr}

    async def deliver(reading: _Reading) -> None:
        async for stream, data in output(process.connection, terminal=process.terminal, read=reading.read):
            if (writer := writers.get(stream)) is not None:
                await writer.write(data)
        for last in writers.values():
            if last is not None:
                await last.close()

    return await _attended(process, deliver, drain_s, _feed(streams.stdin, process), _resize(streams.sizes, process))


async def _attended(
    process: ExecProcess, take: Callable[[_Reading], Coroutine[Any, Any, None]], drain_s: float,
    *inputs: Coroutine[Any, Any, None],
) -> int:  # fmt: skip
    """Until the process has ended and its output is taken: the exit code."""
    reading = _Reading(process, drain_s)
    try:
        async with asyncio.TaskGroup() as group:
            feeding = [group.create_task(work, name="exec input") for work in inputs]
            taking = group.create_task(take(reading), name="exec output")
            code = await group.create_task(process.ended(), name="exec process")
            reading.process_ended()
            await asyncio.wait({taking})
            for task in feeding:
                task.cancel()
        return code
    except BaseExceptionGroup as failed:
        raise first_error(failed) from failed


async def _feed(source: Reader | None, process: ExecProcess) -> None:
    """The client's input; what the process can't read any more is thrown away, and the client's end noticed."""
    if source is None:
        return
    taken = True
    while data := await source.read():
        try:
            if taken:
                await process.connection.write(data)
        except ConnectionError:
            taken = False
    process.connection.end_input()


async def _resize(sizes: AsyncIterator[TerminalSize] | None, process: ExecProcess) -> None:
    if sizes is not None:
        async for size in sizes:
            await process.resize(size.width, size.height)


async def _hang_up(process: ExecProcess, hangup_s: float) -> int:
    """As a lost connection does with a login; what goes on all the same is killed after a while."""
    process.connection.close()
    if process.terminal and process.process is not None:
        send_signal(process.process, signal.SIGHUP)
    try:
        async with asyncio.timeout(hangup_s if hangup_s >= 0 else None):
            return await process.ended()
    except TimeoutError:
        log.info("a process goes on after its client has gone, and is killed")
        await shielded(process.kill(), name="kill abandoned exec")
        return _KILLED
