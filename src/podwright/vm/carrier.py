"""The process on the host that stands for one in a machine: it has the pid, gets the signals, ends with the exit code.

The streams are not its business, as the keeper has them; so it is small, and knows the standard library alone: it is
run by its path, with the connection to the keeper as a descriptor, and the terminal's if there is one. Closing the
connection, by whatever death, ends the process in the machine.

    python3 -I -S carrier.py CONNECTION [TERMINAL]
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
import termios

_LIMIT_BYTES = 65536
# What a process does to itself, what job control does, and what nobody can catch.
_OWN = {
    signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGPIPE, signal.SIGTTIN, signal.SIGTTOU, signal.SIGTSTP,
    signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGTRAP, signal.SIGSYS,
}  # fmt: skip


def forwarded() -> set[int]:
    """The signals that are for the process in the machine."""
    return {int(number) for number in signal.valid_signals()} - _OWN


def terminal_size(terminal: int) -> dict[str, int]:
    """In characters; ioctl_tty(2)."""
    height, width, _, _ = struct.unpack("HHHH", fcntl.ioctl(terminal, termios.TIOCGWINSZ, b"\0" * 8))
    return {"width": width, "height": height}


def own_terminal(terminal: int, *, new_session: bool = True) -> None:
    """Be told of changes of its size: it becomes the controlling terminal of our session."""
    if new_session:
        os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


def main() -> None:
    connection = socket.socket(fileno=int(sys.argv[1]))
    terminal = int(sys.argv[2]) if len(sys.argv) > 2 else -1
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(write_fd)
    for number in forwarded():
        signal.signal(number, lambda *_: None)
    if terminal >= 0:
        own_terminal(terminal)
        _say(connection, {"verb": "resize", **terminal_size(terminal)})
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    poll.register(read_fd, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == read_fd:
                for number in os.read(read_fd, _LIMIT_BYTES):
                    _hand_on(connection, number, terminal)
            else:
                _told(connection.recv(_LIMIT_BYTES))


def _hand_on(connection: socket.socket, number: int, terminal: int) -> None:
    if number == signal.SIGWINCH and terminal >= 0:
        _say(connection, {"verb": "resize", **terminal_size(terminal)})
    else:
        _say(connection, {"verb": "signal", "signal": number})


def _say(connection: socket.socket, message: dict[str, object]) -> None:
    try:
        connection.send(json.dumps(message).encode())
    except OSError:
        return  # the keeper is gone: what it had to tell is read next, or its end


def _told(data: bytes) -> None:
    message = json.loads(data) if data else {}
    if "exit" in message:
        os._exit(message["exit"])
    if not data or "lost" in message:
        os._exit(128 + signal.SIGKILL)


if __name__ == "__main__":
    main()
