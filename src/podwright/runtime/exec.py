"""Run a process in a container to its end: `runtime exec` with pipes, bounded output, and a certain end.

The runtime waits for the process and passes its exit code on. runc puts pipes of its own between, and so doesn't
end before the last holder of them does; such a runtime is run detached by conmon, which waits in its place and lets
our pipes through. The pid file appears only once the process runs, which tells the runtime's own failures from the
process's. On time-out and cancellation the process is killed with all it started; whoever waits for it then reaps it
and ends. A child left in the background may keep our pipes open: they are read a moment longer, then closed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from podwright.base.files import write_plain
from podwright.base.ids import random_suffix
from podwright.base.log import get_logger
from podwright.base.tasks import shielded
from podwright.linux.cgroup_attach import short_attach
from podwright.linux.process import Process, empty_input, spawn
from podwright.linux.process_tree import kill_below
from podwright.runtime.base import ExecRequest, ExecResult
from podwright.runtime.words import failure

log = get_logger(__name__)

_CHUNK_BYTES = 256 * 1024
# How long a runtime may take to notice that the process it waits for was killed.
_RUNTIME_END_S = 5.0


class Capture:
    """One output stream: reads a pipe as it fills, keeps the first `limit_bytes`, throws the rest away."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._chunks: list[bytes] = []
        self._kept = 0
        self.truncated = False
        self._read_fd, self.write_fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._read_fd, False)
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(self._read_fd, self._readable)

    def started(self) -> None:
        """The child has its end: close ours, or the stream never ends."""
        os.close(self.write_fd)
        self.write_fd = -1

    def _readable(self) -> None:
        try:
            data = os.read(self._read_fd, _CHUNK_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(self._read_fd)
            if not self._ended.done():
                self._ended.set_result(None)
            return
        room = self._limit - self._kept
        if len(data) > room:
            self.truncated = True
            data = data[:room]
        if data:
            self._kept += len(data)
            self._chunks.append(data)

    async def end(self) -> None:
        """Return when every holder of the other end has closed it."""
        await asyncio.shield(self._ended)

    def close(self) -> bytes:
        """Stop reading; what was kept."""
        self._loop.remove_reader(self._read_fd)
        os.close(self._read_fd)
        if self.write_fd >= 0:
            os.close(self.write_fd)
        if not self._ended.done():
            self._ended.cancel()
        return b"".join(self._chunks)


@dataclass(frozen=True)
class ExecFiles:
    """The two files of one exec, in a directory of ours."""

    process: Path
    pid: Path

    @staticmethod
    def in_directory(directory: Path, container_id: str) -> ExecFiles:
        name = f"exec-{container_id}-{random_suffix()}"
        return ExecFiles(directory / f"{name}.json", directory / f"{name}.pid")

    @staticmethod
    def container_of(path: Path) -> str:
        """Whose process a file is about."""
        return path.name.removeprefix("exec-").rpartition("-")[0]

    def read_pid(self) -> int:
        """The host pid of the process; 0 while it doesn't run."""
        try:
            return int(self.pid.read_text() or 0)
        except (FileNotFoundError, ValueError):
            return 0

    def remove(self) -> None:
        self.process.unlink(missing_ok=True)
        self.pid.unlink(missing_ok=True)


def exec_arguments(
    runtime: Sequence[str], container_id: str, files: ExecFiles, reaper: Path | None, *, options: Sequence[str] = ()
) -> list[str]:
    """What to run; `options` are for the runtime's `exec`."""
    if reaper is None:
        return [*runtime, "exec", *options, "--process", str(files.process), "--pid-file", str(files.pid), container_id]
    return [
        str(reaper), "--sync", "--api-version", "--exec", "--exec-process-spec", str(files.process),
        "--container-pidfile", str(files.pid), "--cid", container_id, "--cuuid", container_id, "--name", "exec",
        "--log-path", "passthrough:", "--log-level", "error", "--no-sync-log",
        "--runtime", runtime[0], *(f"--runtime-arg={word}" for word in runtime[1:]),
        *(f"--runtime-opt={word}" for word in options),
    ]  # fmt: skip


async def exec_sync(
    runtime: Sequence[str], request: ExecRequest, scratch: Path, *, reaper: Path | None = None
) -> ExecResult:
    """`runtime` is the program with its global arguments, `reaper` conmon where the runtime needs one.

    Raises RuntimeFailed, CommandNotRunnable.
    """
    files = ExecFiles.in_directory(scratch, request.container_id)
    write_plain(files.process, msgspec.json.encode(request.process), mode=0o600)
    out, err = Capture(request.output_limit_bytes), Capture(request.output_limit_bytes)
    timed_out = False
    try:
        argv = exec_arguments(runtime, request.container_id, files, reaper, options=request.options)
        stdin = empty_input()
        try:
            process = spawn(argv, stdin=stdin, stdout=out.write_fd, stderr=err.write_fd)
        finally:
            os.close(stdin)
        out.started()
        err.started()
        try:
            with short_attach():
                async with asyncio.timeout(request.timeout_s):
                    returncode = await process.wait()
        except TimeoutError:
            timed_out = True
            returncode = await shielded(kill_exec(process), name="kill timed-out exec")
        except BaseException:
            await shielded(kill_exec(process), name="kill cancelled exec")
            raise
        await _drain(out, err, request.drain_timeout_s)
        ran = files.read_pid() > 0
    finally:
        stdout, stderr = out.close(), err.close()
        files.remove()
    if not ran and not timed_out:
        words = stderr.decode(errors="replace")
        raise failure("exec", request.container_id, words, program=Path(runtime[0]).name)
    code = 137 if timed_out else exit_code(returncode)
    return ExecResult(code, stdout, stderr, timed_out=timed_out, truncated=out.truncated or err.truncated)


def exit_code(returncode: int) -> int:
    """128+n for signal n, as shells have it."""
    return 128 - returncode if returncode < 0 else returncode


async def _drain(out: Capture, err: Capture, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await out.end()
            await err.end()
    except TimeoutError:
        return  # a child in the background holds them; what it wrote so far is kept


async def kill_exec(process: Process) -> int:
    """End what our child has started; it reaps that and ends by itself. Its status."""
    try:
        if not await kill_below(process.pid):
            log.warning("a process that was executed in a container can't be killed", below=process.pid)
        async with asyncio.timeout(_RUNTIME_END_S):
            return await process.wait()
    except TimeoutError:
        await process.kill()
    return await process.wait()
