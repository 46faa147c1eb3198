"""Run a process in a container with a client at its streams: `runtime exec`, started and waited for as in `exec.py`.

A client that goes away hangs the process up, as a lost connection does with a login: its terminal is hung up, or its
input ends and its output breaks. What goes on all the same is killed after a while. A caller that is cancelled, the
daemon that stops, kills at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec

from podwright.base.files import write_plain
from podwright.base.log import get_logger
from podwright.base.tasks import first_error, shielded
from podwright.linux.cgroup_attach import short_attach
from podwright.linux.process import Process, spawn
from podwright.runtime.base import InteractiveExec
from podwright.runtime.exec import ExecFiles, exec_arguments, exit_code, kill_exec
from podwright.runtime.wiring import Pipes, Terminal, Wiring
from podwright.runtime.words import failure

log = get_logger(__name__)

_STARTED_POLL_S = 0.003


async def exec_interactive(
    runtime: Sequence[str], request: InteractiveExec, scratch: Path, *, reaper: Path | None = None
) -> int:
    """The exit code; for the arguments see `exec.exec_sync`. Raises RuntimeFailed, CommandNotRunnable."""
    files = ExecFiles.in_directory(scratch, request.container_id)
    write_plain(files.process, msgspec.json.encode(request.process), mode=0o600)
    try:
        wiring = _wiring(request, scratch)
        try:
            argv = exec_arguments(
                runtime, request.container_id, files, reaper, options=(*wiring.options, *request.options)
            )
            process = spawn(argv, stdin=wiring.stdin, stdout=wiring.stdout, stderr=wiring.stderr)
            wiring.spawned()
            code = exit_code(await _attended(process, wiring, files, request))
            if files.read_pid() <= 0:
                raise failure("exec", request.container_id, wiring.words(), program=Path(runtime[0]).name)
            return code
        finally:
            wiring.close()
    finally:
        files.remove()


def _wiring(request: InteractiveExec, scratch: Path) -> Wiring:
    if request.process.terminal:
        return Terminal(request.streams, request.drain_timeout_s, scratch, size=request.process.console_size)
    return Pipes(request.streams, request.drain_timeout_s)


async def _attended(process: Process, wiring: Wiring, files: ExecFiles, request: InteractiveExec) -> int:
    """Carry the streams until the process has ended; its status."""
    try:
        try:
            return await _converse(process, wiring, files)
        except ConnectionError:
            return await _hang_up(process, wiring, request)
    except BaseException:
        wiring.close()
        if not process.ended:
            await shielded(kill_exec(process), name="kill cancelled exec")
        raise


async def _converse(process: Process, wiring: Wiring, files: ExecFiles) -> int:
    """Raises ConnectionError when the client has gone."""
    try:
        async with asyncio.TaskGroup() as group:
            ended = group.create_task(process.wait(), name="exec process")
            connected = group.create_task(wiring.connect(), name="exec connect")
            with short_attach():
                await asyncio.wait({ended, connected}, return_when=asyncio.FIRST_COMPLETED)
                while not files.read_pid() and not ended.done():
                    await asyncio.wait({ended}, timeout=_STARTED_POLL_S)
            if not connected.done():
                connected.cancel()
                await asyncio.wait({connected})
                wiring.connect_now()
            if not files.read_pid():
                return await ended  # it never ran: what can be read are the runtime's words
            inputs = [group.create_task(work, name="exec input") for work in wiring.inputs()]
            outputs = [group.create_task(work, name="exec output") for work in wiring.outputs()]
            returncode = await ended
            wiring.process_ended()
            if outputs:
                await asyncio.wait(outputs)
            for task in inputs:
                task.cancel()
        return returncode
    except BaseExceptionGroup as failed:
        raise first_error(failed) from failed


async def _hang_up(process: Process, wiring: Wiring, request: InteractiveExec) -> int:
    wiring.close()
    try:
        async with asyncio.timeout(request.hangup_timeout_s):
            return await process.wait()
    except TimeoutError:
        log.info("a process goes on after its client has gone, and is killed", container=request.container_id[:13])
        return await shielded(kill_exec(process), name="kill abandoned exec")
