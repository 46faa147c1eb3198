"""The first program in nspawn's container, in the stage: `python -c "from …first_step import main; main()"`.

Over the channel it gets what it works with, and says that all is ready, or what failed. Then it waits for a byte at
GATE, which `start` writes. What fails after that goes to OUTCOME, which closes by itself when the command is executed.
"""

from __future__ import annotations

import json
import os
import signal
import socket

from podwright.nspawn import rootfs
from podwright.nspawn.command import CommandFailed, become, prepare
from podwright.nspawn.plan import AT_ONCE, CHANNEL, GATE, OUTCOME, PLAN, STDERR, STDIN, STDOUT, unpack

READY, FAILED = b"R", b"F"


def main() -> None:
    """Returns only by the end of the process."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    channel = socket.socket(fileno=CHANNEL)
    _receive(channel)
    with open(PLAN, "rb", closefd=False) as file:
        root, process = unpack(json.load(file))
    assert root is not None
    # Opened for this process alone: they close with the execution.
    gate, outcome = (os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC) for fd in (GATE, OUTCOME))

    def wait() -> None:
        channel.send(READY)
        channel.close()
        os.read(gate, 1)
        os.closerange(3, outcome)
        os.closerange(outcome + 1, 1 << 20)

    try:
        privileges = prepare(process.process)
        rootfs.enter(root)
        for theirs, ours in ((STDIN, 0), (STDOUT, 1), (STDERR, 2)):
            os.dup2(theirs, ours)
        become(process, privileges, wait, own_console=True)
    except (CommandFailed, OSError) as error:
        words = FAILED + str(error.strerror if isinstance(error, OSError) and error.strerror else error).encode()
        if channel.fileno() >= 0:
            channel.send(words)
        else:
            os.write(outcome, words[1:])
        os._exit(error.code if isinstance(error, CommandFailed) else 1)


def _receive(channel: socket.socket) -> None:
    """The descriptors: the lowest free numbers, in order."""
    expected, received = 1, list[int]()
    while len(received) < expected:
        count, descriptors, _, _ = socket.recv_fds(channel, 16, AT_ONCE)
        expected = int(count)
        received += descriptors
    if received != list(range(PLAN, PLAN + expected)):
        raise OSError(f"descriptors came as {received}")
