"""systemd-nspawn as an OCI runtime: `ociruntime.base.Program`.

What only creation and exec need is imported by these: the program is started for each verb of each container.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from podwright.base.errors import DeadlineExceeded, FailedPrecondition, NotFound, Unimplemented
from podwright.linux.capability_sets import CAPABILITY_NAMES
from podwright.linux.pidfd import ProcessIdentity, is_alive, open_pidfd, send_signal
from podwright.nspawn import refuse
from podwright.nspawn.cgroup import Cgroup, members, path_for
from podwright.nspawn.plan import GATE_FILE, OUTCOME_FILE, STAGE
from podwright.oci.events import Stats
from podwright.oci.runtime_spec import LinuxResources
from podwright.ociruntime.base import Call, CreateRequest, ExecRequest, ProcessRow
from podwright.ociruntime.record import Container

_DIRECTORIES = ("/usr/local/bin", "/usr/bin", "/bin")
_START_TIMEOUT_MS = 60_000
_NSPAWN_RUN = Path("/run/systemd/nspawn")
_MOUNT_OPTIONS = (
    "bind", "rbind", "ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "noatime", "relatime",
    "strictatime", "private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable",
    "rro", "rnosuid", "rnodev", "rnoexec",
)  # fmt: skip


class Nspawn:
    """Implements `Program`. Details of a container: `machine`, `cgroup`, and `first`, the pid and start time of the
    process that is the command later on."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def features(self) -> Mapping[str, Any]:
        return {
            "hooks": ["prestart", "createRuntime", "poststart", "poststop"],
            "mountOptions": sorted(_MOUNT_OPTIONS),
            "linux": {
                "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "uts"],
                "capabilities": list(CAPABILITY_NAMES),
                "cgroup": {"v1": True, "v2": True, "systemd": False, "systemdUser": False},
                "seccomp": {"enabled": True},
                "apparmor": {"enabled": True},
                "selinux": {"enabled": False},
                "mountExtensions": {"idmap": {"enabled": False}},
            },
        }

    def check(self, request: CreateRequest) -> None:
        refuse.check(request.bundle.spec, request.bundle.document)
        if request.preserve_fds:
            raise Unimplemented("--preserve-fds is not supported by podwright-nspawn")
        path_for(request.bundle.spec.linux.cgroups_path, "id")
        self._nspawn()

    def _nspawn(self) -> Path:
        for directory in _DIRECTORIES:
            path = Path(directory, "systemd-nspawn")
            if os.access(path, os.X_OK):
                return path
        raise NotFound("systemd-nspawn is not installed (Debian: apt-get install systemd-container)")

    def create(self, container: Container, request: CreateRequest) -> int:
        from podwright.nspawn.create import create

        return create(self._nspawn(), container, request)

    def start(self, container: Container) -> None:
        outcome = os.open(container.directory / OUTCOME_FILE, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            try:
                gate = os.open(container.directory / GATE_FILE, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:  # nobody waits there any more
                if _first(container) is None:
                    raise FailedPrecondition(f"container {container.id!r} has ended before it was started") from None
                return
            os.write(gate, b"\n")
            os.close(gate)
            poll = select.poll()
            poll.register(outcome, select.POLLIN)
            if not poll.poll(_START_TIMEOUT_MS):
                raise DeadlineExceeded(f"the command of container {container.id!r} was not executed in time")
            if words := os.read(outcome, 4096):
                raise FailedPrecondition(words.decode(errors="replace"))
        finally:
            os.close(outcome)

    def paused(self, container: Container) -> bool:
        return self._cgroup(container).frozen()

    def _cgroup(self, container: Container) -> Cgroup:
        return Cgroup(container.details["cgroup"])

    def kill(self, container: Container, signal: int, *, all_processes: bool) -> None:
        first = _first(container)
        if first is not None:
            send_signal(first, signal)
        if all_processes and "cgroup" in container.details:
            for pid in members(self._cgroup(container), _machinery(container)):
                if first is None or pid != first.pid:
                    _signal(pid, signal)

    def delete(self, container: Container) -> None:
        if "cgroup" in container.details:
            self._cgroup(container).end()
        if (process := container.process) is not None:
            send_signal(process, signal.SIGKILL)
            _await_end(process)
        if machine := container.details.get("machine"):
            _sweep(machine, container.directory / STAGE)

    def exec(self, container: Container, request: ExecRequest) -> int:
        from podwright.nspawn.execute import execute

        first = _first(container)
        if first is None:
            raise FailedPrecondition(f"container {container.id!r} has ended")
        if request.preserve_fds:
            raise Unimplemented("--preserve-fds is not supported by podwright-nspawn")
        return execute(first, container, request, self._cgroup(container))

    def pause(self, container: Container) -> None:
        self._cgroup(container).freeze()

    def resume(self, container: Container) -> None:
        cgroup = self._cgroup(container)
        cgroup.kernel.set_frozen(cgroup.path, frozen=False)

    def update(self, container: Container, resources: LinuxResources) -> None:
        self._cgroup(container).limit(resources)

    def processes(self, container: Container) -> Sequence[ProcessRow]:
        found = (_row(pid) for pid in members(self._cgroup(container), _machinery(container)))
        return [row for row in found if row is not None]

    def stats(self, container: Container) -> Stats:
        return self._cgroup(container).stats()

    def oom_kills(self, container: Container) -> int:
        cgroup = self._cgroup(container)
        return cgroup.kernel.oom_kills(cgroup.path) or 0


def _sweep(machine: str, stage: Path) -> None:
    """What nspawn leaves behind when it is killed: a directory by the machine's name, a lock by its tree's inode."""
    try:
        (_NSPAWN_RUN / "propagate" / machine).rmdir()
    except FileNotFoundError:
        pass
    if stage.exists():
        found = stage.stat()
        (_NSPAWN_RUN / f"locks/inode-{found.st_dev}:{found.st_ino}").unlink(missing_ok=True)


def _first(container: Container) -> ProcessIdentity | None:
    """The container's first process, while it lives."""
    pid, start_time = container.details.get("first", (0, 0))
    identity = ProcessIdentity(pid, start_time)
    return identity if pid and container.process is not None and is_alive(identity) else None


def _machinery(container: Container) -> tuple[int, ...]:
    """Pids of the carrier and of nspawn, which are in the container's cgroup as well."""
    first = _first(container)
    row = None if first is None else _row(first.pid)
    return (container.record.pid, *((row.parent,) if row else ()))


def _row(pid: int) -> ProcessRow | None:
    """proc_pid_status(5); None when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    return ProcessRow(pid, int(fields["PPid"]), int(fields["Uid"].split()[0]), words or f"[{fields['Name']}]")


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _await_end(process: ProcessIdentity) -> None:
    pidfd = open_pidfd(process)
    if pidfd is not None:
        select.select([pidfd], [], [], _START_TIMEOUT_MS / 1000)
        os.close(pidfd)
