"""podwright-vm: an OCI runtime whose containers run in virtual machines. The verbs, but for what the front does.

Each container has a process on the host: the machine's keeper for the container that brings a machine, a carrier for
each that joins it. The keeper's socket is how verbs reach the machine. What takes time to import is imported by the
verbs that need it: a runtime is started several times in the life of each container.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from podwright import __version__
from podwright.base.errors import FailedPrecondition, InvalidArgument, NotFound, PodwrightError, Unavailable
from podwright.linux.pidfd import ProcessIdentity, send_signal
from podwright.oci.events import Stats
from podwright.oci.runtime_spec import LinuxResources
from podwright.ociruntime import front
from podwright.ociruntime.base import Call, CreateRequest, ExecRequest, Identity, ProcessRow
from podwright.ociruntime.record import Container
from podwright.vm import control, crossing, ending
from podwright.vm.membership import machine_of
from podwright.vm.settings import load

ROOT = Path("/run/podwright-vm")
_MACHINE, _PAUSED = "machine", "paused"
_ASK_TIMEOUT_S, _SHUTDOWN_S = 60.0, 20.0
_MOUNT_OPTIONS = [
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "private",
    "rbind",
    "relatime",
    "ro",
    "rprivate",
    "rro",
    "rslave",
    "rw",
    "slave",
    "strictatime",
    "suid",
    "sync",
    "tmpcopyup",
]


class VmProgram:
    """Implements `ociruntime.base.Program`."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def features(self) -> Mapping[str, Any]:
        return {
            "mountOptions": _MOUNT_OPTIONS,
            "linux": {
                "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "uts"],
                "cgroup": {"v1": False, "v2": True, "systemd": False},
                "seccomp": {"enabled": True},
                "apparmor": {"enabled": False},
                "selinux": {"enabled": False},
                "mountExtensions": {"idmap": {"enabled": False}},
            },
            "annotations": {"org.podwright.vm.own-kernel": "true"},
        }

    def check(self, request: CreateRequest) -> None:
        crossing.check(request.bundle.spec, joins=machine_of("", request.bundle.spec.annotations) != "")
        if request.preserve_fds:
            raise FailedPrecondition("--preserve-fds: descriptors of the host can't be had in a virtual machine")

    def create(self, container: Container, request: CreateRequest) -> int:
        from podwright.vm import launch

        machine = machine_of(container.id, container.spec.annotations)
        container.details[_MACHINE] = machine
        container.save()
        if machine == container.id:
            return launch.boot(self._call, container, request, load(self._call.config))
        return launch.join(self._call, container, request, machine)

    def start(self, container: Container) -> None:
        self._ask(container, "start")

    def paused(self, container: Container) -> bool:
        return bool(container.details.get(_PAUSED))

    def kill(self, container: Container, signal: int, *, all_processes: bool) -> None:
        try:
            self._ask(container, "signal", signal=signal, all=all_processes)
        except (NotFound, Unavailable):
            if container.process is not None and signal == _SIGKILL:
                send_signal(container.process, signal)

    def delete(self, container: Container) -> None:
        from podwright.vm import host_cgroups

        if (process := container.process or self._creating(container)) is not None:
            self._end(container, process)
        host_cgroups.leave(host_cgroups.directories_of(_cgroups_path(container)))

    def _creating(self, container: Container) -> ProcessIdentity | None:
        """The process of a container whose creation broke off before that was recorded."""
        return ending.left_behind(container.directory)

    def _end(self, container: Container, process: ProcessIdentity) -> None:
        """The machine, or the container in one, ends as it should; by force if that takes too long."""
        brings_machine = container.details.get(_MACHINE) == container.id
        try:
            self._ask(container, "shutdown" if brings_machine else "forget", timeout_s=_SHUTDOWN_S)
        except PodwrightError as error:
            self._call.report.debug(f"{container.id} is ended by force: {error}")
        ending.end(process, grace_s=_SHUTDOWN_S)

    def exec(self, container: Container, request: ExecRequest) -> int:
        from podwright.vm import launch

        if request.preserve_fds:
            raise FailedPrecondition("--preserve-fds: descriptors of the host can't be had in a virtual machine")
        return launch.execute(self._call, container, request, container.details[_MACHINE])

    def pause(self, container: Container) -> None:
        self._set_paused(container, paused=True)

    def resume(self, container: Container) -> None:
        self._set_paused(container, paused=False)

    def _set_paused(self, container: Container, *, paused: bool) -> None:
        self._ask(container, "pause" if paused else "resume")
        container.details[_PAUSED] = paused
        container.save()

    def update(self, container: Container, resources: LinuxResources) -> None:
        self._ask(container, "update", resources=msgspec.to_builtins(resources))

    def processes(self, container: Container) -> Sequence[ProcessRow]:
        rows = self._ask(container, "processes")["processes"]
        return [ProcessRow(row["pid"], row["parent"], row["user"], row["command"]) for row in rows]

    def stats(self, container: Container) -> Stats:
        from podwright.vm.statistics import as_runc_has_them

        return as_runc_has_them(self._ask(container, "stats"))

    def oom_kills(self, container: Container) -> int:
        return int(self._ask(container, "stats").get("oom_kills", 0))

    def _ask(
        self, container: Container, verb: str, *, timeout_s: float = _ASK_TIMEOUT_S, **attributes: object
    ) -> control.Message:
        """The keeper of the container's machine. Raises Unavailable."""
        path = self._call.root / str(container.details.get(_MACHINE, container.id)) / "machine" / "control"
        with control.connect(path, timeout_s=timeout_s) as connection:
            return control.ask(connection, {"verb": verb, "id": container.id, **attributes})


_SIGKILL = signal.SIGKILL


def _cgroups_path(container: Container) -> str:
    try:
        return container.spec.linux.cgroups_path
    except (OSError, msgspec.MsgspecError):
        return ""  # its creation broke off before anything was made


def _build_guest(call: Call, words: Sequence[str]) -> int:
    from podwright.vm.build_guest import configured, guest

    if words and list(words) != ["--force"]:
        raise InvalidArgument(f"build-guest takes --force, not {' '.join(words)}")
    settings = load(call.config)
    made = guest(configured(settings), force=bool(words))
    sys.stdout.write(f"kernel {made.version}: {made.kernel}\nfirst file system: {made.initrd}\n")
    return 0


IDENTITY = Identity("podwright-vm", __version__, ROOT, VmProgram, {"build-guest": _build_guest}, has_settings=True)


def main() -> int:
    """The console script."""
    return front.main(IDENTITY)


if __name__ == "__main__":
    sys.exit(main())
