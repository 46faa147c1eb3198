"""Between fork(2) and execve(2): the forked child of the agent that becomes a container's process.

It says on its socket that it is ready, with its terminal if it has one, or what went wrong; waits for the word to go
on; and executes. The socket closes with that, so that the agent sees its success as an end without words.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import struct
import termios
from typing import NamedTuple, NoReturn

from podwright.guest import devices, mounts
from podwright.guest.failures import INVALID, Failure, described
from podwright.guest.kernel_files import write
from podwright.guest.specification import Layout, Process
from podwright.linux import syscalls

READY = b"ready"
GO = b"g"
_TIOCGPTN, _TIOCSPTLCK = 0x80045430, 0x40045431
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_FAILED = 127
_PASSWD_LIMIT_BYTES = 1 << 20


class Place(NamedTuple):
    """Where a process goes: a file system to make, or (`layout` None) the namespaces of a container to enter."""

    cgroup: str
    layout: Layout | None
    own_cgroup_namespace: bool
    namespaces: tuple[int, ...] = ()


def run(process: Process, place: Place, stdio: list[int], report: socket.socket) -> NoReturn:
    """In the child. `stdio` are the descriptors for 0, 1, 2, of no use with a terminal."""
    try:
        _close_others({0, 1, 2, *stdio, *place.namespaces, report.fileno()})
        _become(process, place, stdio, report)
    except BaseException as error:
        failure = described(error) if isinstance(error, Exception) else Failure(INVALID, str(error))
        try:
            report.send(json.dumps({"kind": failure.kind, "message": str(failure)[:4096]}).encode())
        except OSError:
            pass
    os._exit(_FAILED)


def _close_others(kept: set[int]) -> None:
    """The agent's descriptors: a copy of a pipe's end, while this waits for its start, would hold up its readers."""
    begin = 0
    for fd in [*sorted(kept), 1 << 30]:
        if begin < fd:  # closerange(0, 0) closes everything
            os.closerange(begin, fd)
        begin = fd + 1


def _become(process: Process, place: Place, stdio: list[int], report: socket.socket) -> None:
    signal.set_wakeup_fd(-1)
    for handled in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGINT):
        signal.signal(handled, signal.SIG_DFL)
    os.setsid()
    process.credentials.prepare()
    write(f"{place.cgroup}/cgroup.procs", "0")
    if place.layout is None:
        for namespace in place.namespaces:
            syscalls.setns(namespace)
    else:
        _make_file_system(place.layout, process.cwd, own_cgroup_namespace=place.own_cgroup_namespace)
    master, stdio = _terminal(console=place.layout is not None) if process.terminal else (-1, stdio)
    if place.layout is not None:
        _close_file_system(place.layout)
    for number, fd in enumerate(stdio):
        os.dup2(fd, number)
        _give(number, process.credentials.uid)
    program = find_program(process.args[0], process.env)
    _change_directory(process.cwd)
    process.credentials.take_on()
    if not os.access(program, os.X_OK):
        raise Failure(INVALID, f"exec: {process.args[0]!r}: permission denied")
    socket.send_fds(report, [READY], [master] if master >= 0 else [])
    if report.recv(1) != GO:
        return
    if process.credentials.no_new_privileges:
        process.credentials.filter_calls()
    try:
        os.execve(program, process.args, {"HOME": _home(process.credentials.uid), **process.env})
    except OSError as error:
        raise Failure(INVALID, f"exec: {process.args[0]!r}: {error.strerror}") from None


def _make_file_system(layout: Layout, cwd: str, *, own_cgroup_namespace: bool) -> None:
    syscalls.unshare(syscalls.CLONE_NEWNS | (syscalls.CLONE_NEWCGROUP if own_cgroup_namespace else 0))
    syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_SLAVE)
    try:
        syscalls.mount(layout.root, layout.root, None, syscalls.MS_BIND | syscalls.MS_REC)
        root = os.open(layout.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Failure(INVALID, f"rootfs: {layout.root}: {error.strerror}") from None
    mounts.make(layout.mounts, root)
    devices.make(layout.nodes, root)
    os.close(mounts.open_target(root, cwd, directory=True))
    mounts.enter(root)
    os.close(root)


def _close_file_system(layout: Layout) -> None:
    """What has to be read-only or hidden is so from now on."""
    mounts.finish(layout.mounts)
    mounts.make_read_only(layout.read_only_paths)
    mounts.mask(layout.masked)
    if layout.read_only:
        syscalls.mount(None, "/", None, syscalls.MS_BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY)
    syscalls.mount(None, "/", None, layout.propagation)


def _terminal(*, console: bool) -> tuple[int, list[int]]:
    """A new one of the container's devpts, ours to control: its master, and descriptors of the slave."""
    try:
        master = os.open("/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise Failure(
            INVALID, f"process.terminal: /dev/pts/ptmx: {error.strerror}; a devpts has to be mounted"
        ) from None
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    (number,) = struct.unpack("i", fcntl.ioctl(master, _TIOCGPTN, bytes(4)))
    path = f"/dev/pts/{number}"
    slave = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    if console:
        devices.bind_console(path)
    return master, [slave] * 3


def _give(fd: int, uid: int) -> None:
    """A program that isn't root's may open its own streams again, by /dev/stdout. /dev/null stays the machine's."""
    found = os.fstat(fd)
    if uid and found.st_uid != uid and not (found.st_rdev and os.major(found.st_rdev) == 1):
        os.fchown(fd, uid, -1)


def find_program(name: str, env: dict[str, str]) -> str:
    """As execvp(3) does, in the process's own PATH. Raises Failure."""
    if "/" in name:
        if not os.path.exists(name):
            raise Failure(INVALID, f"exec: {name!r}: no such file or directory")
        return name
    for directory in env.get("PATH", _DEFAULT_PATH).split(":"):
        path = f"{directory or '.'}/{name}"
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise Failure(INVALID, f"exec: {name!r}: executable file not found in $PATH")


def _home(uid: int) -> str:
    """As other runtimes have it where the environment has none: from the container's /etc/passwd."""
    try:
        # An image may have a pipe there, on which an open would wait.
        with open("/etc/passwd", "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as file:
            lines = file.read(_PASSWD_LIMIT_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return "/"
    return next((words[5] for line in lines if len(words := line.split(":")) == 7 and words[2] == str(uid)), "/")


def _change_directory(path: str) -> None:
    try:
        os.chdir(path)
    except OSError as error:
        reason = "is not a directory" if error.errno == errno.ENOTDIR else error.strerror
        raise Failure(INVALID, f"process.cwd: {path}: {reason}") from None
