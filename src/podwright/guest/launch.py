"""Starting processes in containers: fork(2) from the agent itself, which is warm, into the namespaces wanted.

The agent's own PID namespace is left for the moment of the fork alone, so that the child is the agent's in every case:
it knows the pid at once, and sees the end.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from typing import NamedTuple

from podwright.guest import child
from podwright.guest.failures import INTERNAL, Failure
from podwright.guest.loop import READ, Future, Loop
from podwright.guest.specification import MACHINES, NEW, Process
from podwright.linux import syscalls

_READY_TIMEOUT_S = 60.0
_MESSAGE_BYTES = 8192


class Launched(NamedTuple):
    """A child that waits for its `go`. `terminal` is the master, -1 without one."""

    pid: int
    end: Future[int]
    socket: socket.socket
    terminal: int


async def launch(
    loop: Loop, process: Process, place: child.Place, stdio: list[int], pid_namespace: str | int
) -> Launched:
    """Fork, and wait until the child is ready. `pid_namespace`: NEW, MACHINES, or the descriptor of one to join.

    Raises Failure with what the child has to say; it has ended then.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with theirs:
            pid = _fork(process, place, stdio, theirs, pid_namespace)
        end = loop.ended(pid)
        try:
            terminal = await _words(loop, ours)
        except Exception:
            if not end.done:
                os.kill(pid, signal.SIGKILL)
            await end
            raise
    except BaseException:
        ours.close()
        raise
    return Launched(pid, end, ours, terminal)


async def go(loop: Loop, connection: socket.socket) -> None:
    """Let the child execute its program. Raises Failure when it can't be executed."""
    with connection:
        try:
            connection.send(child.GO)
        except BrokenPipeError:
            return  # it has been killed, which is told by its end
        await loop.event(connection.fileno(), READ, timeout_s=_READY_TIMEOUT_S)
        try:
            message = connection.recv(_MESSAGE_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            raise Failure(INTERNAL, "the process was not executed in time") from None
        except ConnectionResetError:
            return
        if message:
            raise _failure(message)


def _fork(process: Process, place: child.Place, stdio: list[int], theirs: socket.socket, namespace: str | int) -> int:
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if namespace == NEW:
            syscalls.unshare(syscalls.CLONE_NEWPID)
        elif isinstance(namespace, int):
            syscalls.setns(namespace, syscalls.CLONE_NEWPID)
        else:
            assert namespace == MACHINES
        pid = -1
        try:
            pid = os.fork()  # noqa: TID251 - one thread, and this is what the agent is for
        finally:
            if pid != 0:
                syscalls.setns(own, syscalls.CLONE_NEWPID)
    finally:
        os.close(own)
    if pid == 0:
        child.run(process, place, stdio, theirs)
    return pid


async def _words(loop: Loop, connection: socket.socket) -> int:
    if not await loop.event(connection.fileno(), READ, timeout_s=_READY_TIMEOUT_S):
        raise Failure(INTERNAL, "the process was not made ready in time")
    try:
        message, fds, _, _ = socket.recv_fds(connection, _MESSAGE_BYTES, 1)
    except ConnectionResetError:
        message, fds = b"", []
    if message != child.READY:
        raise _failure(message)
    if not fds:
        return -1
    os.set_inheritable(fds[0], False)  # noqa: FBT003 - positional only
    return fds[0]


def _failure(message: bytes) -> Failure:
    if not message:
        return Failure(INTERNAL, "the process died while it was made, perhaps by its seccomp profile or memory limit")
    words = json.loads(message)
    return Failure(str(words["kind"]), str(words["message"]))
