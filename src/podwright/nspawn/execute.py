"""`exec`'s first half, on the host: start `enter` where the host's mounts are read-only, and wait for what it says."""

from __future__ import annotations

import os

import msgspec

from podwright.base.errors import FailedPrecondition
from podwright.linux import syscalls as sys
from podwright.linux.fork import Ready, fork
from podwright.linux.pidfd import ProcessIdentity, open_pidfd
from podwright.nspawn import stage
from podwright.nspawn.cgroup import Cgroup
from podwright.nspawn.device_nodes import confined
from podwright.nspawn.launch import memory_file, renumber
from podwright.nspawn.plan import FILTER, PLAN, ProcessPlan
from podwright.ociruntime import console
from podwright.ociruntime.base import ExecRequest
from podwright.ociruntime.record import Container

_TOLD_BYTES = 5


def execute(target: ProcessIdentity, container: Container, request: ExecRequest, cgroup: Cgroup) -> int:
    """The pid of the process that has executed its command. Raises FailedPrecondition with what could not be done."""
    process, own = request.process, container.spec.process
    process.capabilities = process.capabilities or own.capabilities
    process.rlimits = process.rlimits or own.rlimits
    document = confined(
        msgspec.to_builtins(process), container.spec.linux.resources, guarded=cgroup.limits_devices
    )  # fmt: skip
    plan = ProcessPlan(document, (container.directory / FILTER).read_text())
    cgroup_files = cgroup.files_to_join(target.pid)
    if not request.console_socket:
        return _execute(target, plan, cgroup_files, -1)
    with console.connect(request.console_socket) as connection:
        return _execute(target, plan, cgroup_files, connection.fileno())


def _execute(target: ProcessIdentity, plan: ProcessPlan, cgroup_files: list[str], connection: int) -> int:
    """`connection`: to a console socket, or -1."""
    pidfd = open_pidfd(target)
    if pidfd is None:
        raise FailedPrecondition("the container has ended")
    answers, tell = os.pipe2(os.O_CLOEXEC)
    own = [pidfd, tell]
    try:
        own += [os.open(path, os.O_WRONLY | os.O_CLOEXEC) for path in cgroup_files]
        # In the order of their numbers there: the pipe, the plan, and what the plan names.
        numbers = range(PLAN + 1, PLAN + 2 + len(cgroup_files))
        document = {
            "process": plan._asdict() | {"console": numbers[-1] + 1 if connection >= 0 else -1},
            "pidfd": numbers[0], "cgroups": list(numbers[1:]),
        }  # fmt: skip
        own.append(memory_file(msgspec.json.encode(document)))
        descriptors = [tell, own[-1], pidfd, *own[2:-1], *([connection] if connection >= 0 else [])]
        helper, _ = fork(lambda ready: _enter(descriptors, ready), keep=descriptors)
    finally:
        for fd in own:
            os.close(fd)
    return _await(answers, helper)


def _enter(descriptors: list[int], _ready: Ready) -> None:
    sys.unshare(sys.CLONE_NEWNS)
    sys.mount(None, "/", None, sys.MS_REC | sys.MS_PRIVATE)
    sys.mount_setattr(sys.AT_FDCWD, "/", sys.AT_RECURSIVE, attr_set=sys.MOUNT_ATTR_RDONLY)
    sys.mount_setattr(sys.AT_FDCWD, "/proc", 0, attr_clr=sys.MOUNT_ATTR_RDONLY)
    renumber(descriptors)
    argv = stage.start("enter")
    os.execve(argv[0], argv, {})


def _await(answers: int, helper: int) -> int:
    said = b""
    try:
        while chunk := os.read(answers, 4096):
            said += chunk
    finally:
        os.close(answers)
        os.waitpid(helper, 0)
    pid = int.from_bytes(said[1:_TOLD_BYTES], "little") if said.startswith(b"P") else 0
    words = said[_TOLD_BYTES if pid else 0 :]
    if pid and not words:
        return pid
    if pid:
        _collect(pid)
    raise FailedPrecondition(words[1:].decode(errors="replace") or "the container's namespaces can't be entered")


def _collect(pid: int) -> None:
    """What ended without having executed its command, where it came to this process."""
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        return  # it went to our caller
