"""The machine's cgroups, version 2: one for all containers, and one for each. kernel: admin-guide/cgroup-v2.rst."""

from __future__ import annotations

import errno
import os
import signal

from podwright.guest.failures import INVALID, Failure
from podwright.guest.kernel_files import pairs, read, write
from podwright.guest.loop import PRIORITY, Loop

TOP = "/sys/fs/cgroup"
PARENT = "/pod"
_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc")
_SETTLE_S = 10.0


def set_up() -> None:
    """Make the parent of all containers, with every controller there is."""
    os.mkdir(TOP + PARENT)
    available = read(f"{TOP}/cgroup.controllers").split()
    for directory in (TOP, TOP + PARENT):
        for controller in _CONTROLLERS:
            if controller in available:
                write(f"{directory}/cgroup.subtree_control", f"+{controller}")


def make(directory: str, files: dict[str, str]) -> None:
    """A container's cgroup with its limits. Raises Failure."""
    os.mkdir(directory)
    limit(directory, files)


def limit(directory: str, files: dict[str, str]) -> None:
    """Change limits; what had been changed when one fails stays. Raises Failure with the file's name."""
    for name, text in files.items():
        if "/" in name:
            raise Failure(INVALID, f"resources.unified: {name[:100]!r} is no file of a cgroup")
        try:
            write(f"{directory}/{name}", text)
        except OSError as error:
            if name == "memory.swap.max" and error.errno == errno.ENOENT:
                continue  # without swap in the kernel nothing can be swapped
            raise Failure(INVALID, f"resources: {name}: {text[:100]!r}: {error.strerror}") from None


def path_of(container: str) -> str:
    """The cgroup of a container below `TOP`."""
    return f"{PARENT}/{container}"


def processes(directory: str) -> list[int]:
    """Every process in the cgroup and those below it."""
    found = []
    for parent, _, _ in os.walk(directory):
        found += [int(word) for word in read(f"{parent}/cgroup.procs").split()]
    return found


def signal_all(directory: str, number: int) -> None:
    """Send a signal to every process; SIGKILL reaches also those that are being born."""
    if number == signal.SIGKILL and os.path.exists(f"{directory}/cgroup.kill"):
        write(f"{directory}/cgroup.kill", "1")
        return
    for pid in processes(directory):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


async def freeze(loop: Loop, directory: str, *, frozen: bool) -> bool:
    """Stop or continue every process, and wait until that is so; False: not in time."""
    write(f"{directory}/cgroup.freeze", "1" if frozen else "0")
    return await settled(loop, directory, "frozen", int(frozen))


async def emptied(loop: Loop, directory: str) -> bool:
    """Wait until there is no process any more; False: some did not end in time."""
    return await settled(loop, directory, "populated", 0)


async def settled(loop: Loop, directory: str, key: str, value: int) -> bool:
    """Wait until cgroup.events says so."""
    try:
        fd = os.open(f"{directory}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return key == "populated"
    try:
        while pairs(os.pread(fd, 4096, 0).decode()).get(key) != value:
            if not await loop.event(fd, PRIORITY, timeout_s=_SETTLE_S):
                return False
        return True
    except OSError:  # ENODEV: the cgroup is gone
        return key == "populated"
    finally:
        os.close(fd)


def remove(directory: str) -> None:
    """Remove an empty cgroup and those below it; absent is success."""
    for parent, _, _ in os.walk(directory, topdown=False):
        try:
            os.rmdir(parent)
        except FileNotFoundError:
            continue
