"""A process that is executed in a running container: started, found on the host, waited for, ended.

The engine tells its pid on the host. So its end is seen by the kernel's word, and it can be killed with all it started,
which the engine can't do. Each is recorded while it runs: what a crash of ours leaves is killed at the next start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from podwright.base.errors import DeadlineExceeded, FailedPrecondition, Internal, PodwrightError, Unavailable
from podwright.base.log import get_logger
from podwright.base.tasks import Tasks, shielded
from podwright.container.exec import require_running
from podwright.container.model import Container
from podwright.docker.answers import Created, ExecState
from podwright.docker.container.output import DETACH_KEYS, output
from podwright.docker.engine import Engine
from podwright.docker.errors import Conflict, NoSuchObject
from podwright.docker.hijack import Hijacked
from podwright.docker.naming import container_name
from podwright.linux.pidfd import ProcessIdentity, identify, wait_end
from podwright.linux.process_tree import kill_tree
from podwright.runtime.base import ContainerNotRunning
from podwright.runtime.words import failure
from podwright.state.store import Store

log = get_logger(__name__)

_POLL_S, _POLL_MAX_S = 0.002, 0.1
_BEGIN_TIMEOUT_S, _CODE_TIMEOUT_S = 60.0, 10.0


class ExecRecord(msgspec.Struct, frozen=True):
    """An exec of ours that may run. The key is the engine's id of it."""

    container_id: str


class Execs:
    """Starts processes in containers."""

    def __init__(self, engine: Engine, store: Store, tasks: Tasks) -> None:
        self._engine, self._tasks = engine, tasks
        self._table = store.table("docker_execs", ExecRecord)

    async def start(
        self, container: Container, command: Sequence[str], *, terminal: bool, stdin: bool, stdout: bool, stderr: bool
    ) -> ExecProcess:
        """Raises ContainerNotRunning, CommandNotRunnable, RuntimeFailed. The caller ends it, by `ended` or `kill`.

        When the caller is cancelled meanwhile, the process is killed as soon as there is one.
        """
        require_running(container)
        body = {
            "Cmd": list(command), "Tty": terminal, "AttachStdin": stdin, "AttachStdout": stdout,
            "AttachStderr": stderr, "DetachKeys": DETACH_KEYS, "Env": ["TERM=xterm"] if terminal else [],
        }  # fmt: skip
        try:
            made = await self._engine.post(f"/containers/{container_name(container)}/exec", Created, body)
        except (Conflict, NoSuchObject) as error:
            raise ContainerNotRunning(str(error)) from error
        self._table.put(made.id, ExecRecord(container.id))
        beginning = self._tasks.start(self._begin(made.id, container, terminal=terminal), name="begin exec")
        try:
            return await self._tasks.join(beginning)
        except asyncio.CancelledError:
            await shielded(_abandon(beginning), name="kill cancelled exec")
            raise

    async def _begin(self, exec_id: str, container: Container, *, terminal: bool) -> ExecProcess:
        """Not to be cancelled: the engine might run it all the same, and nobody would know."""
        try:
            connection = await self._engine.hijack(f"/exec/{exec_id}/start", {"Detach": False, "Tty": terminal})
            try:
                state = await self._begun(exec_id)
                if not state.pid:
                    raise failure("exec", container.id, await _words(connection), program="Docker")
            except BaseException:
                connection.close()
                raise
        except (DeadlineExceeded, Unavailable):
            raise  # it may run yet: the record stays for the next start of ours
        except PodwrightError:
            self._table.delete(exec_id)
            raise
        return ExecProcess(self, exec_id, connection, identify(state.pid), terminal=terminal)

    async def _begun(self, exec_id: str) -> ExecState:
        """Once there is a process, or it is known that there will be none."""
        return await self._poll(exec_id, lambda state: bool(state.pid) or state.ended, _BEGIN_TIMEOUT_S)

    async def code(self, exec_id: str) -> int:
        """The exit code of one whose process has ended."""
        return (await self._poll(exec_id, lambda state: state.ended, _CODE_TIMEOUT_S)).exit_code or 0

    async def _poll(self, exec_id: str, enough: Callable[[ExecState], bool], timeout_s: float) -> ExecState:
        pause_s, deadline = _POLL_S, asyncio.get_running_loop().time() + timeout_s
        while not enough(state := await self.state(exec_id)):
            if asyncio.get_running_loop().time() > deadline:
                raise DeadlineExceeded(f"Docker says nothing about the process of exec {exec_id[:13]}")
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _POLL_MAX_S)
        return state

    async def state(self, exec_id: str) -> ExecState:
        return await self._engine.get(f"/exec/{exec_id}/json", ExecState)

    async def resize(self, exec_id: str, width: int, height: int) -> None:
        """One that has ended: success."""
        try:
            await self._engine.do("POST", f"/exec/{exec_id}/resize", query={"w": width, "h": height})
        except (NoSuchObject, FailedPrecondition, Internal):
            return

    def forget(self, exec_id: str) -> None:
        self._table.delete(exec_id)

    async def end_leftovers(self) -> None:
        """Kill what was being executed when an earlier daemon of ours died; nobody else's execs."""
        for exec_id in sorted(self._table.keys()):
            try:
                state = await self.state(exec_id)
            except NoSuchObject:
                state = ExecState()
            process = identify(state.pid) if state.running and state.pid else None
            if process is not None:
                log.info("a process is killed that was executed before the daemon died", pid=process.pid)
                await kill_tree(process)
            self._table.delete(exec_id)


class ExecProcess:
    """One process. `process` is None when it had ended before anybody could look."""

    def __init__(
        self, execs: Execs, exec_id: str, connection: Hijacked, process: ProcessIdentity | None, *, terminal: bool
    ) -> None:
        self._execs, self._id, self.process = execs, exec_id, process
        self.connection, self.terminal = connection, terminal

    async def ended(self) -> int:
        """Return when it has ended: its exit code."""
        if self.process is not None:
            await wait_end(self.process)
        return await self._execs.code(self._id)

    async def resize(self, width: int, height: int) -> None:
        await self._execs.resize(self._id, width, height)

    async def kill(self) -> None:
        """SIGKILL it and all it has started, and wait until they are gone."""
        if self.process is not None and not await kill_tree(self.process):
            log.warning("a process that was executed in a container can't be killed", pid=self.process.pid)

    def close(self) -> None:
        """Nobody is interested any more. Idempotent."""
        self.connection.close()
        self._execs.forget(self._id)


async def _abandon(beginning: asyncio.Task[ExecProcess]) -> None:
    try:
        process = await beginning
    except PodwrightError:
        return
    try:
        await process.kill()
    finally:
        process.close()


async def _words(connection: Hijacked) -> str:
    """What the engine says of a process that could not be started, in a frame even where there is a terminal."""
    said = [data async for _, data in output(connection, terminal=False)]
    return b"".join(said).decode(errors="replace")
