"""A shim as the runtime: the verbs of a container, each one call. Implements `runtime.base.Runtime`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from podwright.base.errors import FailedPrecondition, NotFound
from podwright.linux.pidfd import ProcessIdentity, send_signal
from podwright.oci.runtime_spec import LinuxResources
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
from podwright.runtime.criu import Criu
from podwright.runtime.features import read_features
from podwright.shim import shim_pb2 as pb
from podwright.shim.events import Events
from podwright.shim.exec import exec_interactive, exec_sync
from podwright.shim.names import pack_checkpoint_options, pack_spec
from podwright.shim.program import ShimCommand
from podwright.shim.shims import Shims
from podwright.shim.take_down import leave, take_down
from podwright.shim.task import Task
from podwright.shim.usage import read_usage
from podwright.ttrpc.errors import ConnectionLost

_STATES = {
    pb.CREATED: "created", pb.RUNNING: "running", pb.STOPPED: "stopped", pb.PAUSED: "paused", pb.PAUSING: "running",
}  # fmt: skip


class ShimRuntime:
    """One shim's program with its options. `scratch`: a directory of ours for short-lived fifos.

    `oci`: the OCI runtime that it calls, where that is known.
    """

    def __init__(
        self, shims: Shims, events: Events, command: ShimCommand, scratch: Path, *, oci: Path | None, timeout_s: float
    ) -> None:  # fmt: skip
        self._shims, self._events, self._command, self._scratch = shims, events, command, scratch
        self._oci, self._timeout_s = oci, timeout_s
        self._plain = command.plain
        self.own_kernel = not self._plain
        self.limits_pods_only = False
        self._criu = Criu()
        self._features: Features | None = None

    @property
    def program(self) -> Path:
        return self._command.path

    @property
    def command(self) -> RuntimeCommand:
        return self._command

    @property
    def command_in_user_namespace(self) -> RuntimeCommand:
        return self.command

    async def state(self, container_id: str) -> RuntimeState | None:
        try:
            found = await (await self._shims.task(container_id)).state()
        except (FailedPrecondition, NotFound, ConnectionLost):
            return None
        return RuntimeState(container_id, _STATES.get(found.status, "creating"), found.pid, Path(found.bundle))

    async def start(self, container_id: str) -> None:
        try:
            await (await self._running(container_id)).start()
        except CommandNotRunnable:
            raise
        except (RuntimeFailed, NotFound, FailedPrecondition, ConnectionLost) as error:
            state = await self.state(container_id)
            if state is None or state.status != "created":
                found = state.status if state else "in no shim"
                raise ContainerNotRunning(
                    f"container {container_id[:12]} can't be started, it is {found}: {error}"
                ) from error
            raise

    async def kill(
        self, container_id: str, signal: int, *, all_processes: bool = False, process: ProcessIdentity | None = None
    ) -> None:  # fmt: skip
        if process is not None and self._plain and not all_processes:
            send_signal(process, signal)
            return
        try:
            await (await self._shims.task(container_id)).kill(signal, everything=all_processes)
        except (NotFound, FailedPrecondition, ConnectionLost):
            return  # dead, unknown: or about to be, with its shim
        except RuntimeFailed:
            state = await self.state(container_id)
            if state is not None and state.status != "stopped":
                raise

    async def delete(self, container_id: str, *, force: bool = False) -> None:
        if force or self._shims.place(container_id) is None:
            await take_down(self._shims, container_id)
            return
        try:
            task = await self._shims.task(container_id)
            await task.delete()
            await leave(task)
        except NotFound:
            pass  # unknown to the shim
        except (ConnectionLost, FailedPrecondition):
            state = await self.state(container_id)
            if state is not None and state.status != "stopped":
                raise
            await take_down(self._shims, container_id)
        self._shims.forget(container_id)

    def out_of_memory(self, container_id: str) -> bool:
        return False

    def lost(self, container_id: str) -> str:
        return ""  # the monitor, which is the same shim, says it

    async def usage(self, container_id: str) -> Usage | None:
        if self._plain:
            return None  # its cgroup tells
        return read_usage(await (await self._running(container_id)).stats())

    async def update(self, container_id: str, resources: LinuxResources) -> None:
        await (await self._running(container_id)).update(pack_spec("LinuxResources", resources))

    async def pause(self, container_id: str) -> None:
        await self._change(container_id, Task.pause, wanted="paused")

    async def resume(self, container_id: str) -> None:
        await self._change(container_id, Task.resume, wanted="running")

    async def exec_sync(self, request: ExecRequest) -> ExecResult:
        task = await self._running(request.container_id)
        async with self._explaining(request.container_id, "running"):
            return await exec_sync(task, request, self._scratch, plain=self._plain)

    async def exec(self, request: InteractiveExec) -> int:
        task = await self._running(request.container_id)
        async with self._explaining(request.container_id, "running"):
            return await exec_interactive(task, request, self._scratch, plain=self._plain)

    async def checkpoint_problem(self) -> str:
        if not self._plain:
            return f"{self.program.name} is not known to checkpoint: use a handler of type oci with runc"
        if not (await self.features()).checkpoint:
            return f"{self._oci} was built without checkpoint/restore: use one that has it (Debian's runc)"
        return await self._criu.problem()

    async def checkpoint(self, request: CheckpointRequest) -> None:
        task = await self._running(request.container_id)
        options = pack_checkpoint_options(pb.RuncCheckpointOptions(work_path=str(request.work)))
        async with self._explaining(request.container_id, "running", "paused"):
            await task.checkpoint(str(request.images), options, timeout_s=request.timeout_s)

    @asynccontextmanager
    async def _explaining(self, container_id: str, *states: str) -> AsyncIterator[None]:
        """Why a verb failed that the shim has no clear word for; `states`: those in which it is possible."""
        try:
            yield
        except RuntimeFailed as error:
            state = await self.state(container_id)
            if state is None or state.status not in states:
                raise ContainerNotRunning(f"container {container_id[:12]} does not run") from error
            raise

    async def _running(self, container_id: str) -> Task:
        try:
            return await self._shims.task(container_id)
        except ConnectionLost as error:
            raise ContainerNotRunning(f"container {container_id[:12]} has lost its shim: {error}") from error

    async def _change(
        self, container_id: str, verb: Callable[[Task], Awaitable[None]], *, wanted: str
    ) -> None:  # fmt: skip
        """pause or resume; one that is in the wanted state already is success."""
        try:
            await verb(await self._running(container_id))
        except (RuntimeFailed, NotFound, FailedPrecondition) as error:
            state = await self.state(container_id)
            if state is None or state.status not in ("running", "paused"):
                raise ContainerNotRunning(f"container {container_id[:12]} does not run") from error
            if state.status != wanted:
                raise

    async def features(self) -> Features:
        """Those of the OCI runtime that it calls; what is behind any other shim can't be known, and counts on nothing
        that not all have."""
        self._events.require()
        if self._features is None:
            found = Features(self.program.name, "")
            if self._oci is not None:
                found = await read_features(self._oci, timeout_s=self._timeout_s)
            self._features = found
        return self._features
