"""The task service's verbs, with our types and errors. containerd, api/runtime/task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from podwright.base.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PodwrightError,
    Unimplemented,
)
from podwright.runtime.base import RuntimeFailed
from podwright.runtime.words import failure
from podwright.shim import shim_pb2 as pb
from podwright.shim.connection import Connection
from podwright.ttrpc.errors import RemoteError

M = TypeVar("M", bound=Message)

# A wait has no limit; this many seconds, three years, fit into ttrpc's nanoseconds.
_FOREVER_S = 1e8
_KINDS: dict[int, type[PodwrightError]] = {
    3: InvalidArgument, 5: NotFound, 6: AlreadyExists, 9: FailedPrecondition, 12: Unimplemented,
}  # fmt: skip


@dataclass(frozen=True)
class Streams:
    """Paths of fifos; '' for none."""

    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    terminal: bool = False


@dataclass(frozen=True)
class Ended:
    """How a process ended: 128+n for signal n, and when, in nanoseconds since the epoch."""

    exit_code: int
    finished_at_ns: int


class Task:
    """One container in a shim. `exec_id` names another process of it; '' is the first.

    Raises NotFound, FailedPrecondition, … as the shim says, else RuntimeFailed with its words; ConnectionLost when it
    dies, DeadlineExceeded when it hangs.
    """

    def __init__(self, connection: Connection, container_id: str, *, timeout_s: float) -> None:
        self._connection, self._id, self._timeout_s = connection, container_id, timeout_s

    async def create(self, bundle: str, streams: Streams, options: Any | None, *, checkpoint: str = "") -> int:
        """The pid of the container's process; a virtual machine gives one of its own."""
        request = pb.CreateTaskRequest(
            id=self._id, bundle=bundle, terminal=streams.terminal, stdin=streams.stdin, stdout=streams.stdout,
            stderr=streams.stderr, checkpoint=checkpoint, options=options,
        )  # fmt: skip
        return (await self._call("Create", request, pb.CreateTaskResponse)).pid

    async def start(self, exec_id: str = "") -> int:
        """The pid."""
        return (await self._call("Start", pb.StartRequest(id=self._id, exec_id=exec_id), pb.StartResponse)).pid

    async def wait(self, exec_id: str = "") -> Ended:
        """Return when the process has ended, or had."""
        request = pb.WaitRequest(id=self._id, exec_id=exec_id)
        answer = await self._call("Wait", request, pb.WaitResponse, timeout_s=_FOREVER_S)
        return Ended(answer.exit_status, _nanoseconds(answer.exited_at))

    async def state(self, exec_id: str = "") -> pb.StateResponse:
        return await self._call("State", pb.StateRequest(id=self._id, exec_id=exec_id), pb.StateResponse)

    async def kill(self, signal: int, *, exec_id: str = "", everything: bool = False) -> None:
        request = pb.KillRequest(id=self._id, exec_id=exec_id, signal=signal, all=everything)
        await self._call("Kill", request, pb.Empty)

    async def delete(self, exec_id: str = "") -> Ended:
        """Forget a process that has ended."""
        answer = await self._call("Delete", pb.DeleteRequest(id=self._id, exec_id=exec_id), pb.DeleteResponse)
        return Ended(answer.exit_status, _nanoseconds(answer.exited_at))

    async def pause(self) -> None:
        await self._call("Pause", pb.PauseRequest(id=self._id), pb.Empty)

    async def resume(self) -> None:
        await self._call("Resume", pb.ResumeRequest(id=self._id), pb.Empty)

    async def update(self, resources: Any) -> None:
        await self._call("Update", pb.UpdateTaskRequest(id=self._id, resources=resources), pb.Empty)

    async def checkpoint(self, path: str, options: Any, *, timeout_s: float) -> None:
        """Write the processes' images to a directory. Its own limit, for there may be much to write."""
        request = pb.CheckpointTaskRequest(id=self._id, path=path, options=options)
        await self._call("Checkpoint", request, pb.Empty, timeout_s=timeout_s)

    async def exec(self, exec_id: str, process: Any, streams: Streams) -> None:
        """Announce a process; `start` with the same id runs it."""
        request = pb.ExecProcessRequest(
            id=self._id, exec_id=exec_id, terminal=streams.terminal, stdin=streams.stdin, stdout=streams.stdout,
            stderr=streams.stderr, spec=process,
        )  # fmt: skip
        await self._call("Exec", request, pb.Empty)

    async def resize(self, *, width: int, height: int, exec_id: str = "") -> None:
        request = pb.ResizePtyRequest(id=self._id, exec_id=exec_id, width=width, height=height)
        await self._call("ResizePty", request, pb.Empty)

    async def close_input(self, exec_id: str = "") -> None:
        """Let the input end once nobody else holds its fifo for writing: the shim lets go of its own hold."""
        await self._call("CloseIO", pb.CloseIORequest(id=self._id, exec_id=exec_id, stdin=True), pb.Empty)

    async def stats(self) -> Any:
        """A Metrics message of containerd/cgroups."""
        return (await self._call("Stats", pb.StatsRequest(id=self._id), pb.StatsResponse)).stats

    async def shim_pid(self) -> int:
        return (await self._call("Connect", pb.ConnectRequest(id=self._id), pb.ConnectResponse)).shim_pid

    async def shutdown(self) -> None:
        """Let the shim end if it has no more containers. It may not live to answer."""
        await self._call("Shutdown", pb.ShutdownRequest(id=self._id), pb.Empty)

    async def _call(self, method: str, request: Message, answer: type[M], *, timeout_s: float | None = None) -> M:
        try:
            return await self._connection.call(method, request, answer, timeout_s=timeout_s or self._timeout_s)
        except RemoteError as error:
            raise self._translated(method.lower(), error) from None

    def _translated(self, verb: str, error: RemoteError) -> PodwrightError:
        kind = _KINDS.get(error.code)
        if kind is not None:
            return kind(f"container {self._id[:13]}: {error.words}")
        if verb in ("create", "start", "exec"):
            return failure(verb, self._id, error.words, program="shim")
        return RuntimeFailed(verb, self._id, error.words or f"code {error.code}", program="shim")


def _nanoseconds(time: Timestamp) -> int:
    return time.seconds * 1_000_000_000 + time.nanos
