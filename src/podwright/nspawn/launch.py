"""Start systemd-nspawn for a container, and wait until its first step waits for `start`.

What the caller gets for the container's process is a carrier, a shell that waits for nspawn: it has the container's
exit code also where a signal was its end, which nspawn only tells in words.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from podwright.base.errors import DeadlineExceeded, FailedPrecondition
from podwright.linux import syscalls as sys
from podwright.linux.fork import fork
from podwright.nspawn import options
from podwright.nspawn.plan import (
    AT_ONCE,
    CHANNEL,
    FURTHER,
    GATE,
    GATE_FILE,
    OUTCOME,
    OUTCOME_FILE,
    PLAN,
    STAGE,
    STDIN,
)
from podwright.oci.runtime_spec import Namespace

_READY_TIMEOUT_S = 60.0
_WORDS_BYTES = 4096
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
LOG = "nspawn.log"

_EXECUTE = 'LISTEN_PID=$$ exec "$@"'
# nspawn works by pids: in another PID namespace it has to see that one's.
_EXECUTE_WITH_PROC = f"mount -t proc proc /proc && {_EXECUTE}"
# Its arguments: the log, and nspawn with its own. Signals that are meant for the container come by `kill`.
_CARRIER = """
trap '' HUP INT QUIT TERM USR1 USR2
log=$1
shift
sh -c 'INNER' sh "$@" 2>"$log"
code=$?
[ $code = 1 ] || exit $code
case $(sed -n 's/^Container .* terminated by signal \\([A-Z0-9+-]*\\)\\.$/\\1/p' "$log") in
SIGNALS
*) exit 1 ;;
esac
"""


class Launch(NamedTuple):
    """`directory`: the container's, where its files are. `shown`, `command`: of `stage.make`. `trees`: descriptors that
    go to the first step after its plan, which is JSON."""

    directory: Path
    machine: str
    namespaces: Sequence[Namespace]
    shown: dict[str, str]
    command: list[str]
    plan: bytes
    trees: list[int]
    cgroup_files: list[str]


class Launched(NamedTuple):
    """Pids, the host's: the carrier's, and that of the container's first process."""

    carrier: int
    first: int


def launch(nspawn: Path, wanted: Launch) -> Launched:
    """Raises FailedPrecondition with what nspawn, or the first step, could not do."""
    for name in (GATE_FILE, OUTCOME_FILE):
        os.mkfifo(wanted.directory / name, 0o600)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    with ours, theirs:
        _send(ours, wanted)
        channel = theirs.fileno()
        carrier, _ = fork(lambda _ready: _be_carrier(nspawn, wanted, channel), keep=(channel,), new_session=True)
        theirs.close()
        return Launched(carrier, _await_first_step(ours, carrier, wanted.directory / LOG))


def _send(channel: socket.socket, wanted: Launch) -> None:
    """Descriptors, in the order of their numbers there, from PLAN on; they wait in the channel for their receiver."""
    assert (PLAN, GATE, OUTCOME, STDIN, FURTHER) == (4, 5, 6, 7, 10)
    plan = memory_file(wanted.plan)
    own = [plan, *(os.open(wanted.directory / name, os.O_PATH | os.O_CLOEXEC) for name in (GATE_FILE, OUTCOME_FILE))]
    descriptors = [*own, 0, 1, 2, *wanted.trees]
    try:
        for start in range(0, len(descriptors), AT_ONCE):
            socket.send_fds(channel, [b"%d" % len(descriptors)], descriptors[start : start + AT_ONCE])
    finally:
        for fd in own:
            os.close(fd)


def memory_file(content: bytes) -> int:
    """A file without a name that is read from its beginning."""
    fd = os.memfd_create("plan")
    os.write(fd, content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _be_carrier(nspawn: Path, wanted: Launch, channel: int) -> None:
    for path in wanted.cgroup_files:
        with open(path, "wb", buffering=0) as file:
            file.write(b"0")
    for path in options.joined(wanted.namespaces):
        namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        sys.setns(namespace)
        os.close(namespace)
    pid_namespace = options.joined_pid(wanted.namespaces)
    if pid_namespace:
        _join_pid(pid_namespace)
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    renumber([channel])
    arguments = options.options(str(wanted.directory / STAGE), wanted.machine, wanted.namespaces, wanted.shown)
    environment = {
        **_ENVIRONMENT, **options.environment(wanted.namespaces), "LISTEN_FDS": "1",
    }  # fmt: skip
    words = [str(wanted.directory / LOG), str(nspawn), *arguments, "--", *wanted.command]
    os.chdir("/")
    os.execve(
        "/bin/sh",
        ["podwright-nspawn", "-c", carrier_script(with_proc=bool(pid_namespace)), "carrier", *words],
        environment,
    )


def _join_pid(path: str) -> None:
    """For children; the carrier stays outside. A mount namespace for nspawn's /proc, that sees the host's unmounts."""
    namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    sys.setns(namespace, sys.CLONE_NEWPID)
    os.close(namespace)
    sys.unshare(sys.CLONE_NEWNS)
    sys.mount(None, "/", None, sys.MS_REC | sys.MS_SLAVE)


def carrier_script(*, with_proc: bool = False) -> str:
    """With the signals that end a process, by the names that nspawn has for them."""
    numbers = [number for number in signal.Signals if number.name not in ("SIGINT", "SIGHUP")]
    cases = [f"{number.name.removeprefix('SIG')}) exit {128 + number} ;;" for number in numbers]
    inner = _EXECUTE_WITH_PROC if with_proc else _EXECUTE
    return _CARRIER.replace("SIGNALS", "\n".join(cases)).replace("INNER", inner)


def renumber(descriptors: list[int]) -> None:
    """Give descriptors the numbers from CHANNEL on, by way of higher ones, and let them be inherited."""
    high = CHANNEL + len(descriptors) + max(descriptors)
    copies = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, high) for fd in descriptors]
    for number, copy in enumerate(copies, CHANNEL):
        os.dup2(copy, number)


def _await_first_step(channel: socket.socket, carrier: int, log: Path) -> int:
    """The pid of the first step. Raises FailedPrecondition, DeadlineExceeded."""
    pidfd = os.pidfd_open(carrier)
    try:
        ready, _, _ = select.select([channel.fileno(), pidfd], [], [], _READY_TIMEOUT_S)
    finally:
        os.close(pidfd)
    if channel.fileno() in ready:
        data, ancillary, _, _ = channel.recvmsg(_WORDS_BYTES, socket.CMSG_SPACE(12))
        if data.startswith(b"R"):
            return int(struct.unpack("iII", ancillary[0][2])[0])
        if data:
            raise FailedPrecondition(data[1:].decode(errors="replace"))
    if not ready:
        raise DeadlineExceeded(f"systemd-nspawn did not come up within {_READY_TIMEOUT_S:g} s: {said(log)}")
    raise FailedPrecondition(f"systemd-nspawn failed: {said(log) or 'it gave no reason'}")


def said(log: Path) -> str:
    """nspawn's own words, on one line."""
    try:
        return "; ".join(line for line in log.read_text(errors="replace").splitlines() if line)[-2000:]
    except OSError:
        return ""
