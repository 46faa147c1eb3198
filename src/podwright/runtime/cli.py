"""Any runtime with runc's command line: runc, crun, youki, gVisor's runsc, Kata's old runtime.

One process a verb, errors from its stderr. Idempotence is made here, not hoped for: when kill or delete fails, the
runtime is asked what it knows, and only a container that is really still there is an error.
"""

from __future__ import annotations

import asyncio
import errno
import os
from dataclasses import replace
from pathlib import Path

import msgspec

from podwright.base.errors import DeadlineExceeded, ResourceExhausted
from podwright.linux.pidfd import ProcessIdentity, send_signal
from podwright.linux.process import ProcessFailed, run
from podwright.oci.runtime_spec import LinuxResources
from podwright.runtime import devnull
from podwright.runtime.base import (
    CheckpointRequest,
    CommandNotRunnable,
    ContainerNotRunning,
    ExecRequest,
    ExecResult,
    Features,
    InteractiveExec,
    RuntimeCommand,
    RuntimeFailed,
    RuntimeState,
    Usage,
)
from podwright.runtime.criu import Criu, reason_in
from podwright.runtime.exec import exec_sync
from podwright.runtime.features import read_features
from podwright.runtime.interactive import exec_interactive
from podwright.runtime.words import failure, says_unknown, tidy

_FULL = os.strerror(errno.ENOSPC)
_CRIU_LOG, _CRIU_LOG_LIMIT = "dump.log", 1024 * 1024


class _State(msgspec.Struct):
    """`runtime state`: OCI runtime specification, runtime.md, "State"."""

    id: str
    status: str
    pid: int = 0
    bundle: str = ""


class CliRuntime:
    """A runtime program with its state directory. Implements `base.Runtime`.

    `create_command`: what a monitor runs, where it is not simply the program (see `hybrid.py`). `scratch`: a
    directory of ours for short-lived files. `plain_processes`: the container's init is the process that the
    monitor reports, so that a signal can go there directly. `exec_reaper`: conmon, for a runtime whose exec ends
    only when nobody holds its output any more.
    """

    own_kernel = False
    limits_pods_only = False
    _own_options: tuple[str, ...] = ()
    """Global arguments that a kind of runtime needs always; before those of the settings, which win."""

    def __init__(
        self,
        program: Path,
        state_root: Path,
        scratch: Path,
        *,
        options: tuple[str, ...] = (),
        create_command: RuntimeCommand | None = None,
        plain_processes: bool = False,
        exec_reaper: Path | None = None,
        criu: Criu | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        self.program = program
        self._root, self._scratch, self._timeout_s = state_root, scratch, timeout_s
        self._plain, self._exec_reaper = plain_processes, exec_reaper
        self._global_args = (*self._own_options, *options, "--root", str(state_root))
        self._argv = (str(program), *self._global_args)
        base = create_command or RuntimeCommand(program)
        self._command = RuntimeCommand(base.path, (*base.global_args, *self._global_args))
        self._features: Features | None = None
        self._criu = criu or Criu()
        self._features_lock = asyncio.Lock()

    @property
    def argv(self) -> tuple[str, ...]:
        """The program with its global arguments, up to the verb."""
        return self._argv

    @property
    def command(self) -> RuntimeCommand:
        return self._command

    @property
    def command_in_user_namespace(self) -> RuntimeCommand:
        return devnull.guarded(self._command) if self.program.name == "crun" else self._command

    async def state(self, container_id: str) -> RuntimeState | None:
        if not self._knows(container_id):
            return None
        done = await run([*self._argv, "state", container_id], timeout_s=self._timeout_s, check=False)
        if done.returncode != 0:
            words = done.stderr.decode(errors="replace")
            if says_unknown(words) or not self._knows(container_id):  # it may have gone meanwhile
                return None
            raise self._failure("state", container_id, words)
        try:
            state = msgspec.json.decode(done.stdout, type=_State)
        except msgspec.MsgspecError as error:
            raise self._failure("state", container_id, f"its answer can't be read: {error}") from error
        return RuntimeState(container_id, state.status, state.pid, Path(state.bundle))

    async def start(self, container_id: str) -> None:
        await self._start(container_id)

    async def _start(self, container_id: str, prefix: tuple[str, ...] = ()) -> None:
        """`prefix`: a program, with arguments, that becomes the runtime."""
        try:
            await self._verb("start", container_id, prefix=prefix)
        except (RuntimeFailed, CommandNotRunnable) as error:
            state = await self.state(container_id)
            if state is None or state.status != "created":
                found = state.status if state else "unknown to the runtime"
                raise ContainerNotRunning(
                    f"container {container_id[:12]} can't be started, it is {found}: {error}"
                ) from error
            raise

    async def kill(
        self,
        container_id: str,
        signal: int,
        *,
        all_processes: bool = False,
        process: ProcessIdentity | None = None,
    ) -> None:
        if process is not None and self._plain and not all_processes:
            send_signal(process, signal)
            return
        options = ("--all",) if all_processes else ()
        try:
            await self._verb("kill", *options, container_id, str(signal), container_id=container_id)
        except RuntimeFailed:
            state = await self.state(container_id)
            if state is not None and state.status not in ("stopped", "creating"):
                raise

    async def delete(self, container_id: str, *, force: bool = False) -> None:
        if not self._knows(container_id):
            return
        try:
            await self._verb("delete", container_id)
            return
        except RuntimeFailed:
            if not force and await self.state(container_id) is not None:
                raise
        # Only now by force: runc then kills, and waits 100 ms, whether there is something to kill or not.
        try:
            await self._verb("delete", "--force", container_id, container_id=container_id)
        except RuntimeFailed:
            if self._knows(container_id) and await self.state(container_id) is not None:
                raise

    def _knows(self, container_id: str) -> bool:
        """Whether the runtime has state of the container: all of them keep it in a directory of that name."""
        return (self._root / container_id).exists()

    def lost(self, container_id: str) -> str:
        return ""

    def out_of_memory(self, container_id: str) -> bool:
        return False

    async def usage(self, container_id: str) -> Usage | None:
        return None

    async def update(self, container_id: str, resources: LinuxResources) -> None:
        # Its stdin, by a name that opens as a file in every runtime.
        await self._verb(
            "update", "--resources", "/proc/self/fd/0", container_id,
            container_id=container_id, stdin=msgspec.json.encode(resources),
        )  # fmt: skip

    async def pause(self, container_id: str) -> None:
        await self._change("pause", container_id, wanted="paused")

    async def resume(self, container_id: str) -> None:
        await self._change("resume", container_id, wanted="running")

    async def exec_sync(self, request: ExecRequest) -> ExecResult:
        try:
            return await exec_sync(self._argv, request, self._scratch, reaper=self._exec_reaper)
        except RuntimeFailed as error:
            await self._require_running(request.container_id, error)
            raise

    async def exec(self, request: InteractiveExec) -> int:
        try:
            return await exec_interactive(self._argv, request, self._scratch, reaper=self._exec_reaper)
        except RuntimeFailed as error:
            await self._require_running(request.container_id, error)
            raise

    async def _require_running(self, container_id: str, error: RuntimeFailed) -> None:
        """Why an exec failed that the runtime has no clear word for."""
        state = await self.state(container_id)
        if state is None or state.status != "running":
            raise ContainerNotRunning(f"container {container_id[:12]} does not run") from error

    async def checkpoint_problem(self) -> str:
        features = await self.features()
        if not features.checkpoint:
            name = f"{self.program.name} {features.version}".rstrip()
            return f"{name} was built without checkpoint/restore: use a handler whose runtime has it (Debian's runc)"
        return await self._criu.problem()

    async def checkpoint(self, request: CheckpointRequest) -> None:
        try:
            await self._verb(
                "checkpoint", "--image-path", str(request.images), "--work-path", str(request.work), "--leave-running",
                request.container_id, container_id=request.container_id, timeout_s=request.timeout_s,
            )  # fmt: skip
        except RuntimeFailed as error:
            await self._require_process(request.container_id, error)
            words = error.words + _log_of(request.work)
            if _FULL in words:
                raise ResourceExhausted(f"no room for the checkpoint of {request.container_id[:12]}: {words}") from None
            raise self._failure("checkpoint", request.container_id, words) from None

    async def _require_process(self, container_id: str, error: RuntimeFailed) -> str:
        """For a verb that failed, and whose container may run or be paused: which of both it is."""
        state = await self.state(container_id)
        if state is None or state.status not in ("running", "paused"):
            raise ContainerNotRunning(f"container {container_id[:12]} does not run") from error
        return state.status

    async def features(self) -> Features:
        async with self._features_lock:
            if self._features is None:
                found = await read_features(self.program, timeout_s=self._timeout_s)
                # Users are mapped, file systems mounted and processes dumped by this kernel: its own ones only.
                self._features = replace(
                    found,
                    user_namespaces=found.user_namespaces and self._plain,
                    checkpoint=found.checkpoint and self._plain,
                )
        return self._features

    async def _change(self, verb: str, container_id: str, *, wanted: str) -> None:
        """pause or resume; one that is in the wanted state already is success."""
        try:
            await self._verb(verb, container_id)
        except RuntimeFailed as error:
            if await self._require_process(container_id, error) != wanted:
                raise

    async def _verb(
        self,
        verb: str,
        *arguments: str,
        container_id: str = "",
        stdin: bytes = b"",
        prefix: tuple[str, ...] = (),
        timeout_s: float | None = None,
    ) -> None:
        """Run one verb. `container_id` is for messages, where it isn't the first argument."""
        name = container_id or arguments[0]
        try:
            argv = [*prefix, *self._argv, verb, *arguments]
            await run(argv, stdin=stdin, timeout_s=timeout_s or self._timeout_s)
        except ProcessFailed as error:
            raise self._failure(verb, name, (error.stderr or error.stdout).decode(errors="replace")) from None
        except DeadlineExceeded as error:
            raise DeadlineExceeded(f"{error} (container {name[:12]}); the runtime was killed") from None

    def _failure(self, verb: str, container_id: str, words: str) -> RuntimeFailed | CommandNotRunnable:
        if verb in ("start", "exec"):
            return failure(verb, container_id, words, program=self.program.name)
        return RuntimeFailed(verb, container_id, tidy(words) or "it gave no reason", program=self.program.name)


def _log_of(work: Path) -> str:
    """What CRIU says of its failure in its log, which runtimes only name."""
    try:
        said = (work / _CRIU_LOG).read_text(errors="replace")[-_CRIU_LOG_LIMIT:]
    except OSError:
        return ""
    return f" (CRIU: {reason_in(said)})"
