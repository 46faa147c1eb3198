"""A process in a container, run to its end by `runtime exec` in the foreground: bounded output, and a tree that is
really gone after a time-out.

The runtime's own process is our child and the exec'd process's parent: it reaps it. Output comes over pipes,
since the container's programs are not trusted: a reader keeps what fits and throws the rest away, so that the
process is never blocked, and reading ends a bounded time after the process does.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from podwright.base.errors import PodwrightError
from podwright.base.tasks import shielded
from podwright.linux import process_tree
from podwright.linux.process import Process, spawn
from podwright.runtime.base import ExecRequest, ExecResult

_CHUNK_BYTES = 256 * 1024
Failure = Callable[[str, str, str], PodwrightError]


class _Output:
    """The reading end of one pipe. `done` is set at end of file."""

    def __init__(self, limit_bytes: int) -> None:
        self.read_fd, self.write_fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.read_fd, False)
        self._limit = limit_bytes
        self._data = bytearray()
        self.truncated = False
        self.done = asyncio.Event()
        asyncio.get_running_loop().add_reader(self.read_fd, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self.read_fd, _CHUNK_BYTES)
        except BlockingIOError:
            return
        if not data:
            asyncio.get_running_loop().remove_reader(self.read_fd)
            self.done.set()
            return
        room = self._limit - len(self._data)
        self._data += data[:room]
        self.truncated = self.truncated or len(data) > room

    def close_write(self) -> None:
        if self.write_fd >= 0:
            os.close(self.write_fd)
            self.write_fd = -1

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.read_fd)
        os.close(self.read_fd)
        self.close_write()

    def contents(self) -> bytes:
        return bytes(self._data)


async def exec_sync(runtime: Sequence[str], request: ExecRequest, failure: Failure) -> ExecResult:
    """Run `request.process` with `runtime` (argv up to the verb). See `Runtime.exec_sync`."""
    spec = os.memfd_create("process.json")
    pid_directory = Path(f"/proc/{os.getpid()}/fd")
    out, err = _Output(request.output_limit_bytes), _Output(request.output_limit_bytes)
    try:
        os.write(spec, msgspec.json.encode(request.process))
        argv = [*runtime, "exec", "--process", str(pid_directory / str(spec)), request.container_id]
        process = spawn(argv, stdout=out.write_fd, stderr=err.write_fd)
        out.close_write()
        err.close_write()
        try:
            returncode, timed_out = await _wait(process, request.timeout_s)
        except asyncio.CancelledError:
            await shielded(_kill(process), name="kill cancelled exec")
            raise
        await _drain(request.drain_timeout_s, out, err)
        return _result(request, returncode, out, err, failure, timed_out=timed_out)
    finally:
        os.close(spec)
        out.close()
        err.close()


async def _wait(process: Process, timeout_s: float | None) -> tuple[int, bool]:
    try:
        async with asyncio.timeout(timeout_s):
            return await process.wait(), False
    except TimeoutError:
        await shielded(_kill(process), name="kill timed-out exec")
        return 137, True


async def _kill(process: Process) -> None:
    """SIGKILL everything below the runtime's process; then the runtime ends by itself, having reaped its child."""
    await process_tree.kill_descendants(process.pid)
    try:
        async with asyncio.timeout(2.0):
            await process.wait()
    except TimeoutError:
        await process.kill()


async def _drain(timeout_s: float, *outputs: _Output) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            for output in outputs:
                await output.done.wait()
    except TimeoutError:
        return  # a child that the process left behind holds the pipe


def _result(
    request: ExecRequest, returncode: int, out: _Output, err: _Output, failure: Failure, *, timed_out: bool
) -> ExecResult:
    exit_code = 128 - returncode if returncode < 0 else returncode
    if exit_code in (1, 126, 127, 255) and not out.contents() and not timed_out:
        words = err.contents().decode(errors="replace").strip()
        if _is_runtimes_own(words):
            raise failure("exec", request.container_id, words)
    return ExecResult(
        exit_code, out.contents(), err.contents(), timed_out=timed_out, truncated=out.truncated or err.truncated
    )


def _is_runtimes_own(words: str) -> bool:
    """Whether an error was written by the runtime itself, not by the program it should have run."""
    return words.startswith(("exec failed:", "executable file `", "open executable", "error executing", 'time="')) or (
        '"level":"error"' in words
    )
