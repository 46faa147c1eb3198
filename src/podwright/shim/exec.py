"""Run a process in a container through its shim: its streams are fifos of ours, one set for each process.

A client that goes away hangs the process up, as in `runtime/interactive.py`: its input ends and its output breaks.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

from podwright.base.errors import FailedPrecondition, NotFound, PodwrightError
from podwright.base.files import remove_tree
from podwright.base.ids import random_suffix
from podwright.base.log import get_logger
from podwright.base.streams import ProcessStreams, Reader, TerminalSize, Writer
from podwright.base.tasks import first_error, shielded
from podwright.linux.descriptors import Output
from podwright.linux.process_tree import kill_below
from podwright.runtime.base import ContainerNotRunning, ExecRequest, ExecResult, InteractiveExec
from podwright.shim.input import Input, await_reader
from podwright.shim.names import pack_spec
from podwright.shim.shims import Shims
from podwright.shim.task import Streams, Task
from podwright.ttrpc.errors import ConnectionLost

log = get_logger(__name__)

_KILLED_S = 10.0
_TIMED_OUT = 137
_PREFIX = "exec-"


def fifos_of(scratch: Path, container_id: str, exec_id: str) -> Path:
    """The directory for the fifos of a process, which is named by it: the next daemon finds it there."""
    return scratch / f"{_PREFIX}{container_id}-{exec_id}"


class Fifos:
    """Ours of a process's streams: its output is ours to read from before it is started."""

    def __init__(self, directory: Path, streams: ProcessStreams, *, terminal: bool, drain_s: float) -> None:
        self._directory = directory
        self._open: set[int] = set()
        directory.mkdir(mode=0o700)
        self.paths = Streams(
            stdin=self._make("stdin") if streams.stdin is not None else "", stdout=self._make("stdout"),
            stderr="" if terminal else self._make("stderr"), terminal=terminal,
        )  # fmt: skip
        self.outputs = [
            (self._output(path, drain_s), writer)
            for path, writer in ((self.paths.stdout, streams.stdout), (self.paths.stderr, streams.stderr))
            if path
        ]
        # A fifo without a writer reads as ended: until the shim has opened it, this is one.
        self._placeholders = [self._keep(path, os.O_WRONLY) for path in (self.paths.stdout, self.paths.stderr) if path]

    def _make(self, name: str) -> str:
        path = self._directory / name
        os.mkfifo(path, 0o600)
        return str(path)

    def _output(self, path: str, drain_s: float) -> Output:
        return Output(self._keep(path, os.O_RDONLY), drain_s=drain_s)

    def _keep(self, path: str, mode: int) -> int:
        fd = os.open(path, mode | os.O_NONBLOCK | os.O_CLOEXEC)
        self._open.add(fd)
        return fd

    def started(self) -> None:
        """The shim has its ends."""
        for fd in self._placeholders:
            os.close(fd)
            self._open.discard(fd)
        self._placeholders = []

    def close(self) -> None:
        """Output that is still written breaks. Idempotent; no task may read by then."""
        for fd in self._open:
            os.close(fd)
        self._open.clear()
        remove_tree(self._directory)


class Capture:
    """A Writer that keeps the first `limit_bytes`."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._kept = bytearray()
        self.truncated = False

    async def write(self, data: bytes) -> None:
        room = self._limit - len(self._kept)
        self.truncated = self.truncated or len(data) > room
        self._kept += data[:room]

    async def close(self) -> None:
        """There is nobody to tell."""

    def __bytes__(self) -> bytes:
        return bytes(self._kept)


class Execution:
    """One process, from its announcement to its deletion. `plain`: its pid is one of this kernel's, and its own."""

    def __init__(self, task: Task, exec_id: str, *, plain: bool) -> None:
        self._task, self._id, self._plain = task, exec_id, plain

    async def start(self, request: ExecRequest | InteractiveExec, streams: Streams) -> None:
        """Raises ContainerNotRunning, CommandNotRunnable, RuntimeFailed."""
        try:
            await self._task.exec(self._id, pack_spec("Process", request.process), streams)
            await self._task.start(self._id)
        except (NotFound, FailedPrecondition, ConnectionLost) as error:
            raise ContainerNotRunning(f"container {request.container_id[:12]} does not run: {error}") from error

    async def wait(self) -> int:
        """The exit code."""
        return (await self._task.wait(self._id)).exit_code

    async def resize(self, size: TerminalSize) -> None:
        try:
            await self._task.resize(width=size.width, height=size.height, exec_id=self._id)
        except PodwrightError as error:  # most often it has ended
            log.debug("a terminal keeps its size", because=str(error))

    async def close_input(self) -> None:
        await self._task.close_input(self._id)

    async def end(self) -> None:
        """Kill it if it runs, and let the shim forget it. One whose start is under way is waited for by the shim."""
        try:
            state = await self._task.state(self._id)
            if state.pid and state.exited_at.seconds <= 0:
                await self._kill(state.pid)
            await self._task.delete(self._id)
        except (NotFound, ConnectionLost):
            return
        except (PodwrightError, TimeoutError) as error:
            log.warning("a process that was executed in a container can't be ended", error=repr(error))

    async def _kill(self, pid: int) -> None:
        if self._plain:
            await kill_below(pid)
        await self._task.kill(signal.SIGKILL, exec_id=self._id)
        async with asyncio.timeout(_KILLED_S):
            await self.wait()


async def exec_sync(task: Task, request: ExecRequest, scratch: Path, *, plain: bool) -> ExecResult:
    """Raises ContainerNotRunning, CommandNotRunnable, RuntimeFailed."""
    out, err = Capture(request.output_limit_bytes), Capture(request.output_limit_bytes)
    interactive = InteractiveExec(
        request.container_id, request.process, ProcessStreams(stdout=out, stderr=err), request.drain_timeout_s
    )
    timed_out = False
    try:
        async with asyncio.timeout(request.timeout_s):
            code = await exec_interactive(task, interactive, scratch, plain=plain)
    except TimeoutError:
        timed_out, code = True, _TIMED_OUT
    return ExecResult(code, bytes(out), bytes(err), timed_out=timed_out, truncated=out.truncated or err.truncated)


async def exec_interactive(task: Task, request: InteractiveExec, scratch: Path, *, plain: bool) -> int:
    """The exit code. Raises ContainerNotRunning, CommandNotRunnable, RuntimeFailed."""
    exec_id = random_suffix()
    execution = Execution(task, exec_id, plain=plain)
    with _fifos(fifos_of(scratch, request.container_id, exec_id), request) as fifos:
        try:
            await execution.start(request, fifos.paths)
            fifos.started()
            try:
                return await _converse(execution, request.streams, fifos)
            except ConnectionError:
                fifos.close()
                return await _hang_up(execution, request)
        finally:
            await shielded(execution.end(), name="end exec in shim")


@contextmanager
def _fifos(directory: Path, request: InteractiveExec) -> Iterator[Fifos]:
    fifos = Fifos(directory, request.streams, terminal=request.process.terminal, drain_s=request.drain_timeout_s)
    try:
        yield fifos
    finally:
        fifos.close()


async def _converse(execution: Execution, streams: ProcessStreams, fifos: Fifos) -> int:
    """Raises ConnectionError when the client has gone."""
    try:
        async with asyncio.TaskGroup() as group:
            inputs = [
                group.create_task(_feed(execution, streams.stdin, fifos.paths.stdin), name="exec input"),
                group.create_task(_resize(execution, streams.sizes), name="exec sizes"),
            ]
            outputs = [group.create_task(_copy(output, writer), name="exec output") for output, writer in fifos.outputs]
            code = await execution.wait()
            for output, _ in fifos.outputs:
                output.process_ended()
            await asyncio.wait(outputs)
            for task in inputs:
                task.cancel()
        return code
    except BaseExceptionGroup as failed:
        raise first_error(failed) from failed


async def _hang_up(execution: Execution, request: InteractiveExec) -> int:
    try:
        async with asyncio.timeout(request.hangup_timeout_s):
            return await execution.wait()
    except TimeoutError:
        log.info("a process goes on after its client has gone, and is killed", container=request.container_id[:13])
        return _TIMED_OUT


async def _copy(output: Output, writer: Writer | None) -> None:
    while data := await output.read():
        if writer is not None:
            await writer.write(data)
    if writer is not None:
        await writer.close()


async def _feed(execution: Execution, source: Reader | None, fifo: str) -> None:
    if source is None:
        return
    target = Input(await await_reader(Path(fifo)), execution.close_input)
    try:
        while data := await source.read():
            await target.send(data)
        await target.end_input()
    finally:
        target.close()


async def _resize(execution: Execution, sizes: AsyncIterator[TerminalSize] | None) -> None:
    if sizes is not None:
        async for size in sizes:
            await execution.resize(size)


async def end_leftovers(scratch: Path, shims: Shims) -> None:
    """Kill what was being executed in containers when the daemon died: their shims have it still."""
    for directory in scratch.glob(f"{_PREFIX}*"):
        container_id, _, exec_id = directory.name.removeprefix(_PREFIX).rpartition("-")
        place = shims.place(container_id)
        if place is not None:
            try:
                task = await shims.task(container_id)
            except ConnectionLost:
                log.debug("the shim of an exec is gone, and the process with it")
            else:
                await Execution(task, exec_id, plain=place.command.plain).end()
        remove_tree(directory)
