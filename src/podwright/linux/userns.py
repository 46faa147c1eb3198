"""User namespaces, made by a process of one thread, since unshare(2) of them fails in a process that has more.

The process is util-linux's unshare become cat: it lives until its standard input, a pipe of ours, is closed. So it
ends with the block that uses it, and with the daemon if that dies; what was pinned of its namespaces stays.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

from podwright.base.errors import FailedPrecondition
from podwright.base.tasks import shielded
from podwright.linux.idmap import IdMaps
from podwright.linux.process import Process, find_program, readable, spawn

_OPTIONS = {"net": "--net", "ipc": "--ipc", "uts": "--uts"}
_START_TIMEOUT_S = 10.0


@asynccontextmanager
async def user_namespace(maps: IdMaps, *, owning: Iterable[str] = ()) -> AsyncIterator[int]:
    """A new user namespace and new namespaces of the kinds `owning` (net, ipc, uts) that belong to it.

    Gives the pid of a process in them, which ends with the block. Raises FailedPrecondition.
    """
    ours_in, theirs_out = os.pipe2(os.O_CLOEXEC)
    theirs_in, ours_out = os.pipe2(os.O_CLOEXEC)
    errors = os.memfd_create("stderr")
    process: Process | None = None
    try:
        try:
            process = spawn(_command(owning), stdin=theirs_in, stdout=theirs_out, stderr=errors)
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        await _unshared(ours_in, ours_out, errors)
        _write_map(process.pid, "uid_map", maps.uids)
        _write_map(process.pid, "gid_map", maps.gids)
        yield process.pid
    finally:
        for fd in (ours_in, ours_out, errors):
            os.close(fd)
        if process is not None:
            await shielded(process.kill(), name="end the user namespace's process")


def _command(owning: Iterable[str]) -> list[str]:
    unshare, cat = find_program("unshare"), find_program("cat")
    if unshare is None or cat is None:
        raise FailedPrecondition("user namespaces need the program unshare: install util-linux")
    return [str(unshare), "--user", *(_OPTIONS[kind] for kind in owning), str(cat)]


async def _unshared(answers: int, questions: int, errors: int) -> None:
    """Wait until the process answers: by then it has become cat, in its namespaces."""
    with suppress(BrokenPipeError):  # it has failed already, and says why
        os.write(questions, b"\n")
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            await readable(answers)
    except TimeoutError:
        raise FailedPrecondition(f"unshare did not make a user namespace within {_START_TIMEOUT_S:g} s") from None
    if not os.read(answers, 1):
        words = os.pread(errors, 1000, 0).decode(errors="replace").strip()
        raise FailedPrecondition(
            f"can't make a user namespace: {words}; the sysctls user.max_user_namespaces, user.max_net_namespaces, "
            "user.max_ipc_namespaces and user.max_uts_namespaces limit them"
        )


def _write_map(pid: int, name: str, ranges: Iterable[object]) -> None:
    """The kernel takes a map once, whole, in one write(2)."""
    fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, "\n".join(map(str, ranges)).encode())
    except OSError as error:
        raise FailedPrecondition(
            f"the kernel refuses the {name} {[str(line) for line in ranges]}: {error.strerror}"
        ) from error
    finally:
        os.close(fd)
