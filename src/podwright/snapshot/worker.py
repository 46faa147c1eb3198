"""The layer worker: a small single-threaded program that forks one sandboxed child a layer.

`python -m podwright.snapshot.worker FD` is started by `layer.py` when there is something to unpack. FD is a
SOCK_SEQPACKET socket: requests come with their descriptors, answers say how a child ended; what the child found is
in the report file that came with the request. It ends, and its children with it, when the socket closes. It is
a process of its own because a daemon with gRPC's threads can neither fork nor unshare its mount namespace.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

import msgspec

from podwright.snapshot import sandbox
from podwright.snapshot.layerjob import Blob, Ended, Job, Kill, Report, unpack

MAX_MESSAGE_BYTES = 64 * 1024
_requests = msgspec.msgpack.Decoder(Job | Kill)


class Worker:
    """The children by pidfd, and the socket they are asked for on."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._children: dict[int, tuple[int, int]] = {}  # pidfd: (job number, pid)
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)

    def run(self) -> None:
        while True:
            for fd, _event in self._poll.poll():
                if fd != self._connection.fileno():
                    self._reap(fd)
                elif not self._receive():
                    return

    def _receive(self) -> bool:
        message, fds, _flags, _address = socket.recv_fds(self._connection, MAX_MESSAGE_BYTES, 8)
        if not message:
            return False
        request = _requests.decode(message)
        if isinstance(request, Job):
            self._start(request, fds)
        else:
            self._kill(request.number)
        for fd in fds:
            os.close(fd)
        return True

    def _start(self, job: Job, fds: list[int]) -> None:
        sandbox.next_child_in_new_pid_namespace()
        pid = os.fork()  # noqa: TID251 - the one place that forks: this process has one thread and no gRPC
        if pid == 0:
            run_child(job, fds)
        pidfd = os.pidfd_open(pid)
        self._children[pidfd] = (job.number, pid)
        self._poll.register(pidfd, select.POLLIN)

    def _kill(self, number: int) -> None:
        for pidfd, (job, _pid) in self._children.items():
            if job == number:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)

    def _reap(self, pidfd: int) -> None:
        number, pid = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        _pid, status = os.waitpid(pid, 0)
        self._connection.send(msgspec.msgpack.encode(Ended(number, os.waitstatus_to_exitcode(status))))


def run_child(job: Job, fds: list[int]) -> NoReturn:
    """Enter the sandbox, unpack, write the report. Nothing of the worker's may run after it."""
    code = 1
    try:
        _write_all(fds[1], msgspec.msgpack.encode(_work(job, fds)))
        code = 0
    finally:
        os._exit(code)  # whatever is raised: the worker's loop must not go on in a second process


def _work(job: Job, fds: list[int]) -> Report:
    stage = "the sandbox for layers can't be made"
    try:
        sandbox.enter(Path(job.target), keep_fds=fds)
        stage = "unpacking failed in an unforeseen way"
        blob = Blob(fds[0], fds[2] if job.follow else None)
        root_fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return unpack(blob, root_fd, max_bytes=job.max_bytes, max_entries=job.max_entries)
    except Exception as error:  # a bug; there is no log in here
        return Report(problem="os", message=f"{stage}: {type(error).__name__}: {error}")


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def main() -> None:
    """Serve the socket whose descriptor is the one argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a person's Ctrl-C is for the daemon, which closes the socket
    sandbox.prepare_worker()
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        Worker(connection).run()


if __name__ == "__main__":
    main()
