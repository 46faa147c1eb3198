"""What a runtime driver offers, in the words of the OCI runtime specification.

The verbs of `container/` call it; `runtime/cli.py` implements it for every program with runc's command line. A
runtime knows containers by id only: names, pods, images and logs are other rooms' business. It never creates a
container by itself: `create` must run as a child of a monitor (the container's parent), so a driver hands the
monitor a `RuntimeCommand` and the monitor runs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from podwright.base.errors import FailedPrecondition, Internal, InvalidArgument
from podwright.base.streams import ProcessStreams
from podwright.linux.pidfd import ProcessIdentity
from podwright.oci.runtime_spec import LinuxResources, Process

# crun(1): a BPF program in base64, used instead of the configuration's seccomp section.
COMPILED_SECCOMP_ANNOTATION = "run.oci.seccomp_bpf_data"

DEFAULT_OUTPUT_LIMIT_BYTES = 16 * 1024 * 1024


class RuntimeFailed(Internal):
    """A runtime failed at `verb`. The message carries the runtime's own words; `words` holds them alone."""

    def __init__(self, verb: str, container_id: str, words: str, *, program: str = "runtime") -> None:
        super().__init__(f"{program} {verb} of container {container_id[:12]} failed: {words}")
        self.verb, self.container_id, self.words, self.program = verb, container_id, words, program


class CommandNotRunnable(InvalidArgument):
    """The command named can't be executed in this container: missing, not executable, or of another architecture.

    Raised by `Monitor.create` and by `exec_sync`. `exit_code` is the shell's for the case: 127 missing, 126 not
    executable.
    """

    def __init__(self, words: str, *, exit_code: int) -> None:
        super().__init__(words)
        self.exit_code = exit_code


class ContainerNotRunning(FailedPrecondition):
    """The verb needs a container that runs (or one that is created, for start)."""


@dataclass(frozen=True)
class RuntimeCommand:
    """What a monitor executes: `path *global_args create …`. `log_args` are added with a file of the monitor's choice.

    `path` may be a wrapper (see `runtime/hybrid.py` and `runtime/devnull.py`).
    """

    path: Path
    global_args: tuple[str, ...] = ()

    def with_log(self, log_file: Path) -> tuple[str, ...]:
        """The global arguments plus those that send errors, as JSON lines, to `log_file`."""
        return (*self.global_args, "--log", str(log_file), "--log-format", "json")


@dataclass(frozen=True)
class RuntimeState:
    """What the runtime says of a container. `status`: creating, created, running, paused or stopped; `pid` 0: none."""

    container_id: str
    status: str
    pid: int
    bundle: Path


@dataclass(frozen=True)
class Features:
    """What a runtime can do. From `<runtime> features` where there is that verb, else known for its version.

    `unknown_capabilities`: names that it would refuse.
    `compiled_seccomp`: it takes a ready-made filter in the annotation COMPILED_SECCOMP_ANNOTATION. `checkpoint`: it was
    built with CRIU's library or calls its program, which says nothing of this machine. `hidden_paths`: it has masked
    and read-only paths.
    """

    name: str
    version: str
    mount_options: frozenset[str] = frozenset()
    seccomp: bool = True
    user_namespaces: bool = False
    idmapped_mounts: bool = False
    compiled_seccomp: bool = False
    checkpoint: bool = False
    unknown_capabilities: frozenset[str] = frozenset()
    hidden_paths: bool = True

    @property
    def recursive_read_only_mounts(self) -> bool:
        """Whether `rro` is a mount option it knows: read-only for submounts as well."""
        return "rro" in self.mount_options


@dataclass(frozen=True)
class Usage:
    """What a kernel of a pod's own counts: nanoseconds of a container, and its bytes.

    `memory_limit_bytes` 0: no limit; None: the kernel counts the memory of all containers of the pod together.
    `periods` and the like: of the CPU quota, 0 where the kernel has none.
    """

    cpu_ns: int
    memory_bytes: int
    inactive_file_bytes: int = 0
    memory_limit_bytes: int | None = None
    cpu_user_ns: int = 0
    cpu_system_ns: int = 0
    periods: int = 0
    throttled_periods: int = 0
    throttled_ns: int = 0


@dataclass(frozen=True)
class ExecRequest:
    """A process to run to its end in a running container.

    `timeout_s` None: no limit. Output beyond `output_limit_bytes` a stream is read and thrown away.
    `drain_timeout_s`: how long to wait, after the process has ended, for output of children it left behind.
    `options`: a driver's own, for its runtime's `exec`.
    """

    container_id: str
    process: Process
    timeout_s: float | None = None
    output_limit_bytes: int = DEFAULT_OUTPUT_LIMIT_BYTES
    drain_timeout_s: float = 1.0
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExecResult:
    """How it ended: `exit_code` (128+n for signal n; 137 after a time-out) and what it wrote.

    With `timed_out` the process and its descendants are gone. `truncated`: a stream exceeded its limit.
    """

    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""
    timed_out: bool = False
    truncated: bool = False


@dataclass(frozen=True)
class InteractiveExec:
    """A process to run in a running container with somebody at its streams; `process.terminal`: on a terminal.

    `drain_timeout_s` and `options` are those of `ExecRequest`. `hangup_timeout_s`: how long the process may go on after
    its client went away, before it is killed; None: as long as it likes.
    """

    container_id: str
    process: Process
    streams: ProcessStreams
    drain_timeout_s: float = 1.0
    hangup_timeout_s: float | None = None
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckpointRequest:
    """The processes of a container, to be written to files; they go on as they were, frozen ones frozen.

    `images`, `work`: empty directories for CRIU's image files, and for its log and statistics.
    """

    container_id: str
    images: Path
    work: Path
    timeout_s: float


class Runtime(Protocol):
    """One OCI runtime with its settings: the implementation behind a RuntimeClass handler.

    A container's life as the runtime sees it:

        Monitor.create ──► created ──start──► running ──(process ends)──► stopped ──delete──► (unknown)
                                                │ ▲
                                           pause│ │resume
                                                ▼ │
                                               paused

    * The container exists from the moment `Monitor.create` returns until `delete`. Its process exists then, too,
      but has not executed the user's command yet: that is what `start` lets it do.
    * `kill` and `delete` are idempotent: a dead process, an unknown container are success, because both are
      called again after crashes and by people who raced. `start` is not: it raises ContainerNotRunning.
    * The runtime doesn't tell when a container ends; the monitor does. `state` costs a process: it serves
      recovery, not status calls.
    * State is kept below the handler's state directory, so that two daemons on one machine don't meet.

    A runtime with a kernel of its own (`own_kernel`) runs the pod's containers apart from the host: they have the
    addresses of the pod's network, but none of the host's namespaces. `limits_pods_only`: its containers have no limits
    of their own, the pod's cgroup is what limits them.

    Every method raises RuntimeFailed with the runtime's own words, DeadlineExceeded when the program hangs
    (it is killed then), ProgramMissing when it is not installed.
    """

    own_kernel: bool
    limits_pods_only: bool

    @property
    def program(self) -> Path:
        """Its program, for people; what is run is `command`."""
        ...

    @property
    def command(self) -> RuntimeCommand:
        """What a monitor executes to create a container."""
        ...

    @property
    def command_in_user_namespace(self) -> RuntimeCommand:
        """The same for a container whose input is nobody's, in a user namespace of its pod's."""
        ...

    async def state(self, container_id: str) -> RuntimeState | None:
        """What the runtime knows of the container; None when it knows no such."""
        ...

    async def start(self, container_id: str) -> None:
        """Let the created container's process execute its command. Raises ContainerNotRunning unless created."""
        ...

    async def kill(
        self,
        container_id: str,
        signal: int,
        *,
        all_processes: bool = False,
        process: ProcessIdentity | None = None,
    ) -> None:
        """Send a signal number to the container's init, or to all processes in its cgroup. Dead, unknown: success.

        `process`: the container's init, if the caller knows it; saves a call of the runtime where a signal can go
        there directly.
        """
        ...

    async def delete(self, container_id: str, *, force: bool = False) -> None:
        """Forget the container and remove its cgroup; `force` kills it first. Unknown: success."""
        ...

    def lost(self, container_id: str) -> str:
        """Why a container that has ended could not go on, where its own process is not to blame; else ''."""
        ...

    def out_of_memory(self, container_id: str) -> bool:
        """Whether a kernel of the pod's own killed a process of a container that has ended for want of memory; where
        this kernel does, its cgroups tell."""
        ...

    async def usage(self, container_id: str) -> Usage | None:
        """What a container of a kernel of its own uses; None where this kernel's cgroups tell."""
        ...

    async def update(self, container_id: str, resources: LinuxResources) -> None:
        """Change limits; members that are unset stay as they are."""
        ...

    async def pause(self, container_id: str) -> None:
        """Freeze all processes. Already paused: success."""
        ...

    async def resume(self, container_id: str) -> None:
        """Thaw all processes. Not paused: success."""
        ...

    async def exec_sync(self, request: ExecRequest) -> ExecResult:
        """Run a process in the container to its end, and collect its output.

        On time-out, and when the caller is cancelled, the process and all its descendants are killed and gone
        before this returns. Raises ContainerNotRunning, CommandNotRunnable.
        """
        ...

    async def exec(self, request: InteractiveExec) -> int:
        """Run a process in the container with the client's streams: its exit code, 128+n for signal n.

        All output has been written, and the writers closed, before this returns. A client that goes away
        (ConnectionError from a stream) hangs the process up: its terminal is hung up, or its input ends and its output
        breaks. A caller that is cancelled kills it, with all its descendants. Raises ContainerNotRunning,
        CommandNotRunnable.
        """
        ...

    async def checkpoint_problem(self) -> str:
        """Why containers of this runtime can't be checkpointed and restored here, with the remedy; '' when they can."""
        ...

    async def checkpoint(self, request: CheckpointRequest) -> None:
        """Write the container's processes to files. The container may be paused, and stays so.

        One that is restored is created by a monitor (`Launch.restore_from`) and runs at once. Raises
        ContainerNotRunning.
        """
        ...

    async def features(self) -> Features:
        """What this runtime can do. Asked once; later calls answer from memory."""
        ...
