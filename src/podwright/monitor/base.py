"""What a monitor driver offers: a small process that is the container's parent and outlives the daemon.

The monitor runs `runtime create`, holds the container's standard streams, writes the log in CRI format, reaps
the container's process and leaves its exit code in a file. `container/` calls this room; which program does the
work is a driver's business. A monitor lives in the daemon's cgroup, never in the pod's: a pod at its memory limit
must not take its monitor along (CVE-2019-14891).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from podwright.base.streams import ProcessStreams
from podwright.linux.pidfd import ProcessIdentity
from podwright.runtime.base import RuntimeCommand

# What a status shows when the exit code is lost with the monitor; the same number containerd gives.
LOST_EXIT_CODE = 255


@dataclass(frozen=True)
class Settings:
    """`[monitor]`"""

    path: str = field(
        default="conmon", metadata={"help": "The monitor's program: a path, or a word looked up in PATH."}
    )
    create_timeout_s: float = field(
        default=120.0,
        metadata={"help": "After how many seconds the creation of a container is taken to hang.", "above": 0},
    )
    log_size_max_bytes: int = field(
        default=0,
        metadata={
            "help": "Start a container's log afresh when it would exceed this size: what was in it is "
            "lost.\n0: never, the kubelet rotates. A limit counts bytes over rotations, so don't set one where the "
            "kubelet rotates;\nthe fresh file is readable by its owner only.",
            "min": 8192,  # what conmon reads at once
            "also": 0,
        },
    )
    attach_lag_max_bytes: int = field(
        default=16 * 1024 * 1024,
        metadata={
            "help": "How far an attached client may fall behind a container's output, which does not wait for it;\n"
            "then it is detached.",
            "min": 1,
        },
    )


@dataclass(frozen=True)
class Launch:
    """A container to create. `bundle` holds config.json and takes the monitor's own files.

    `log_path` None: output is thrown away.
    """

    container_id: str
    name: str
    bundle: Path
    command: RuntimeCommand
    log_path: Path | None = None
    stdin: bool = False
    stdin_once: bool = False
    terminal: bool = False
    restore_from: Path | None = None


@dataclass(frozen=True)
class Monitored:
    """A container and its monitor: plain enough to be stored in a record and used again after a restart.

    `process` is the container's init as the host sees it. Paths are strings, so that records stay plain JSON.
    """

    container_id: str
    process: ProcessIdentity
    monitor: ProcessIdentity
    bundle: str
    log_path: str = ""


@dataclass(frozen=True)
class Exit:
    """How a container ended. `exit_code` is 128+n for signal n.

    `lost`: the monitor died before the container did, so the code is LOST_EXIT_CODE and the time is when we
    noticed. `oom_hint`: the monitor saw an out-of-memory event; the cgroup's counters decide.
    """

    exit_code: int
    finished_at_ns: int
    oom_hint: bool = False
    lost: bool = False


class Monitor(Protocol):
    """The life of a monitor.

    `create` starts it; it runs the runtime, and once the container is created it stays, over restarts of the
    daemon, until the container's process ends and its output is drained. Then it writes the exit file and ends.
    So "the monitor has ended and the exit file is there" is the one signal of a container's end; `wait_exit`
    awaits it, for a container made by this daemon and for a record of an earlier one alike.

    When the monitor is killed, the container loses its log and its exit code but not its life: `wait_exit` then
    waits for the container's process itself, and says `lost`.
    """

    async def create(self, launch: Launch) -> Monitored:
        """Start a monitor that creates the container.

        On failure no monitor and no process of the container is left, though the runtime may still hold state
        (`Runtime.delete(force=True)` is the caller's undo). Raises RuntimeFailed with the runtime's own words,
        CommandNotRunnable when the container's command is to blame, DeadlineExceeded, ProgramMissing.
        """
        ...

    async def wait_exit(self, monitored: Monitored) -> Exit:
        """Return when the container has ended. Safe to cancel and to call again; the answer stays until `forget`."""
        ...

    async def exit_now(self, monitored: Monitored) -> Exit | None:
        """The end of a container if it has ended, without waiting for one; None while it lives. For recovery at start,
        before anything else is asked of the container."""
        ...

    def forget(self, container_id: str) -> None:
        """Remove the exit file. Idempotent; the bundle is the caller's to remove."""
        ...

    async def abandon(self, container_id: str, bundle: Path) -> None:
        """Kill the monitor that a bundle has, if any, and forget its exit file. Idempotent.

        For a container that is taken down: after it no runtime creates anything, so `Runtime.delete` comes second.
        """
        ...

    async def reopen_log(self, monitored: Monitored) -> None:
        """Start a new file at the container's log path, after somebody renamed the old one. No line is lost.

        Raises FailedPrecondition when the monitor is gone, or does not answer.
        """
        ...

    async def resize(self, monitored: Monitored, *, width: int, height: int) -> None:
        """Set the size of the container's terminal, in characters."""
        ...

    async def attach(self, monitored: Monitored, streams: ProcessStreams, *, stdin: bool, stdin_once: bool) -> None:
        """Join the container's streams until it ends or the client goes away. Many may at once.

        `stdin`, `stdin_once`: how the container was created. Its input ends with that of the first client that had
        one, if `stdin_once`; else never. The log never waits for a client. Raises FailedPrecondition when the monitor
        is gone, ResourceExhausted for a client that is too slow.
        """
        ...
