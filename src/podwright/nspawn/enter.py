"""`exec`'s second half: enter a container's namespaces, and become a process there.

It runs where all of the host's mounts are read-only (`execute`): so a program of the container that gets at this one's
executable, by /proc/self/exe, can't write to it. CVE-2019-5736. Descriptors: a pipe for what happens, the plan, and
those that the plan names.
"""

from __future__ import annotations

import json
import os
import signal

from podwright.linux import syscalls as sys
from podwright.nspawn.command import CommandFailed, become, prepare
from podwright.nspawn.plan import CHANNEL, PLAN, unpack

_NAMESPACES = (
    sys.CLONE_NEWNS | sys.CLONE_NEWPID | sys.CLONE_NEWNET | sys.CLONE_NEWIPC | sys.CLONE_NEWUTS | sys.CLONE_NEWCGROUP
)


def main() -> None:
    """Tells P and the pid in 4 bytes, F and what failed; the pipe closes by itself when the command is executed."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.set_inheritable(CHANNEL, False)  # noqa: FBT003 - closed by the execution
    with open(PLAN, "rb", closefd=False) as file:
        document = json.load(file)
    _, plan = unpack(document)
    try:
        privileges = prepare(plan.process)
        sys.setns(document["pidfd"], _NAMESPACES)
        arrived, go = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()  # noqa: TID251 - a PID namespace is entered by a child; this process has one thread
        if pid != 0:
            for descriptor in document["cgroups"]:
                os.write(descriptor, b"%d" % pid)
            os.write(CHANNEL, b"P" + pid.to_bytes(4, "little"))
            os.close(go)
            os._exit(0)
        for descriptor in (go, document["pidfd"], *document["cgroups"]):
            os.close(descriptor)
        os.read(arrived, 1)  # its memory is the container's from here on

        def wait() -> None:
            os.closerange(PLAN, 1 << 20)

        become(plan, privileges, wait)
    except (CommandFailed, OSError) as error:
        words = str(error.strerror if isinstance(error, OSError) and error.strerror else error)
        os.write(CHANNEL, b"F" + words.encode())
        os._exit(error.code if isinstance(error, CommandFailed) else 1)
