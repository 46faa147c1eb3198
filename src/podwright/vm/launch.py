"""`create` and `exec`: the processes on the host that stand for those in a machine, and the machine itself."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from podwright.base.errors import NotFound
from podwright.base.files import write_plain
from podwright.linux import syscalls as sys_calls
from podwright.linux.fork import fork
from podwright.linux.pidfd import identify
from podwright.linux.process import find_program
from podwright.ociruntime.base import Call, CreateRequest, ExecRequest
from podwright.ociruntime.record import Container
from podwright.vm import board, carrier, control, crossing, host_cgroups, keeper, kvm, size
from podwright.vm.build_guest import configured, guest
from podwright.vm.ending import KEEPER_PID
from podwright.vm.keeper import CONTROL, First
from podwright.vm.machine import Plan
from podwright.vm.settings import Settings
from podwright.vm.share import open_mount
from podwright.vm.stdio import streams

MACHINE = "machine"
_LOG = "keeper.log"
_ANSWER_TIMEOUT_S = 120.0


def control_of(call: Call, machine: str) -> Path:
    """The socket of a machine's keeper."""
    return call.root / machine / MACHINE / CONTROL


def boot(call: Call, container: Container, request: CreateRequest, settings: Settings) -> int:
    """A machine with its first container; the keeper's pid."""
    directory = container.directory / MACHINE
    directory.mkdir(mode=0o700)
    plan = plan_of(call, container, settings, directory)
    spec = container.spec
    document = crossing.document(container.id, request.bundle.document, spec, lambda _: "")
    with streams(request.console_socket) as stdio:
        trees = crossing.open_trees(spec, request.bundle.path, request.bundle.rootfs, open_mount)
        try:
            first = First(container.id, document, trees, stdio, terminal=spec.process.terminal)

            def child(ready: Callable[[bytes], None]) -> None:
                _become_keeper(call, plan, first, spec.linux.cgroups_path, ready)

            pid, _ = fork(child, keep=[*trees.values(), *stdio], new_session=True)
        finally:
            for tree in trees.values():
                os.close(tree)
    return pid


def plan_of(call: Call, container: Container, settings: Settings, directory: Path) -> Plan:
    """Raises NotFound for a program that is missing, and what finding a kernel raises."""
    spec, annotations = container.spec, container.spec.annotations
    qemu = find_program(settings.qemu)
    if qemu is None:
        raise NotFound(f"{settings.qemu} is not installed (Debian: apt-get install qemu-system-x86)")
    about_guest = configured(settings)
    made = guest(about_guest)
    machine = board.choose(settings.machine, qemu, Path(settings.guest_directory, "board"))
    accelerator = settings.accelerator
    if accelerator == "auto":
        cache = Path(settings.guest_directory, "kvm")
        accelerator = "kvm" if kvm.works(qemu, made.kernel, machine, cache) else "tcg"
    return Plan(
        directory=directory, qemu=qemu, kernel=made.kernel, initrd=made.initrd,
        machine=machine, accelerator=accelerator, share=about_guest.share,
        memory_bytes=size.memory_bytes(settings, annotations, spec.linux.resources),
        cpus=size.cpus(settings, annotations, spec.linux.resources, of_host=len(os.sched_getaffinity(0))),
        netns=crossing.netns_of(spec), hostname=spec.hostname, boot_timeout_s=settings.boot_timeout_s,
        agent_timeout_s=settings.agent_timeout_s,
    )  # fmt: skip


def _become_keeper(
    call: Call, plan: Plan, first: First, cgroups_path: str, ready: Callable[[bytes], None]
) -> None:  # fmt: skip
    """In a process of its own: never returns normally."""
    itself = identify(os.getpid())
    assert itself is not None
    write_plain(plan.directory.parent / KEEPER_PID, f"{itself.pid} {itself.start_time}".encode(), mode=0o600)
    host_cgroups.enter(cgroups_path, itself.pid)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # whoever reads a container's output may leave
    if first.terminal:
        carrier.own_terminal(first.descriptors[0], new_session=False)
    kept = [os.dup(number) for number in first.descriptors]
    first = First(first.id, first.document, first.trees, kept, terminal=first.terminal)
    _leave_streams(plan.directory / _LOG, terminal=kept[0] if first.terminal else -1)
    sys_calls.unshare(sys_calls.CLONE_NEWNS)
    sys_calls.mount(None, "/", None, sys_calls.MS_REC | sys_calls.MS_SLAVE)
    raise SystemExit(keeper.keep(plan, call.root, first, ready))


def _leave_streams(log: Path, *, terminal: int = -1) -> None:
    """Ours are the container's no more: input from nowhere, or its terminal to ask for its size, output to a log."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(terminal if terminal >= 0 else nothing, 0)
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if log != Path(os.devnull) else nothing
    os.dup2(target, 1)
    os.dup2(target, 2)


def join(call: Call, container: Container, request: CreateRequest, machine: str) -> int:
    """A container in a machine that runs; its carrier's pid."""
    spec = container.spec

    def container_of(pid: int) -> str:
        return next(
            (c.id for c in call.containers.all() if c.record.pid == pid and c.details.get(MACHINE) == machine), ""
        )

    document = crossing.document(container.id, request.bundle.document, spec, container_of, joins=machine)
    with control.connect(control_of(call, machine), timeout_s=_ANSWER_TIMEOUT_S) as connection:
        trees = crossing.open_trees(spec, request.bundle.path, request.bundle.rootfs, open_mount)
        try:
            for name, tree in trees.items():
                control.ask(connection, {"verb": "share", "id": container.id, "name": name}, [tree])
        finally:
            for tree in trees.values():
                os.close(tree)
        message = {"verb": "create", "id": container.id, "terminal": spec.process.terminal}
        with streams(request.console_socket) as stdio:
            pid = _begin(connection, message, document, stdio, terminal=spec.process.terminal)
    host_cgroups.enter(spec.linux.cgroups_path, pid)
    return pid


def execute(call: Call, container: Container, request: ExecRequest, machine: str) -> int:
    """A further process in a container; its carrier's pid."""
    process = msgspec.to_builtins(request.process)
    message = {"verb": "exec", "id": container.id, "exec": f"{os.getpid()}-{os.urandom(4).hex()}"}
    with (
        control.connect(control_of(call, machine), timeout_s=_ANSWER_TIMEOUT_S) as connection,
        streams(request.console_socket) as stdio,
    ):
        pid = _begin(connection, message, {"process": process}, stdio, terminal=request.process.terminal)
    host_cgroups.enter(container.spec.linux.cgroups_path, pid)
    return pid


def _begin(
    connection: socket.socket, message: dict[str, Any], document: Mapping[str, Any], stdio: list[int], *, terminal: bool
) -> int:
    """Begin a process in the machine, and then the one that stands for it here."""
    described = os.memfd_create("document")
    try:
        os.write(described, msgspec.json.encode(document))
        control.ask(connection, {**message, "streams": len(stdio)}, [described, *stdio])
    finally:
        os.close(described)
    connection.settimeout(None)
    kept = [connection.fileno(), *(stdio if terminal else ())]

    def child(_: Callable[[bytes], None]) -> None:
        for descriptor in kept:
            os.set_inheritable(descriptor, True)  # noqa: FBT003 - positional only
        _leave_streams(Path(os.devnull))
        os.execv(sys.executable, [sys.executable, "-I", "-S", str(carrier.__file__), *map(str, kept)])

    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, carrier.forwarded())
    try:
        return fork(child, keep=kept)[0]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
