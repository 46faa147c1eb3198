"""The cage of a process that reads hostile archives: it sees one directory and may do file work there, no more.

Called by the layer worker, single-threaded: `prepare_worker` once, `enter` in the child before it reads the first
byte. From then on the process has a mount namespace that holds nothing but the directory, no network, no other
process to signal, six capabilities, no way to gain others, and a system call filter. What it can still break is
the tree it was given.
"""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Collection
from pathlib import Path

from podwright.linux import syscalls as sys
from podwright.linux.capability_sets import CAPABILITY_NAMES
from podwright.snapshot.syscall_filter import file_work_only

# What making files on somebody's behalf takes: owners, modes, device nodes, file capabilities.
_CAPABILITIES = ("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_MKNOD", "CAP_SETFCAP")
_MEMORY_BYTES = 4 * 1024**3
_OPEN_FILES = 2048
_CPU_S = 3600


def prepare_worker() -> None:
    """What children inherit: no network, no System V IPC. The mount namespace stays, to find new directories."""
    sys.unshare(sys.CLONE_NEWNET | sys.CLONE_NEWIPC | sys.CLONE_NEWUTS)


def next_child_in_new_pid_namespace() -> None:
    """The next fork makes pid 1 of a new namespace, which can see and signal nobody. pid_namespaces(7)."""
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        sys.setns(own, sys.CLONE_NEWPID)  # the last one is dead; unshare works from our own only
    finally:
        os.close(own)
    sys.unshare(sys.CLONE_NEWPID)


def enter(directory: Path, *, keep_fds: Collection[int]) -> None:
    """Lock this process into `directory`, which becomes its root."""
    _close_all_but(keep_fds)
    os.umask(0)
    sys.prctl(sys.PR_SET_PDEATHSIG, 9)
    _prefer_for_oom()
    _become_root(directory)
    _set_limits()
    _drop_privileges()
    if program := file_work_only(platform.machine()):
        sys.seccomp_set_filter(program)


def _close_all_but(fds: Collection[int]) -> None:
    first = 3
    for fd in sorted(fds):
        os.closerange(first, fd)
        first = max(first, fd + 1)
    os.closerange(first, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _prefer_for_oom() -> None:
    """When memory is short, an unpacking layer is the cheapest thing to lose. proc(5), oom_score_adj."""
    fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    os.write(fd, b"500")
    os.close(fd)


def _become_root(directory: Path) -> None:
    """pivot_root(2), "pivot_root(".", ".")": no old root stays reachable, as it would after chroot."""
    sys.unshare(sys.CLONE_NEWNS)
    sys.mount(None, "/", None, sys.MS_REC | sys.MS_PRIVATE)
    sys.mount(os.fspath(directory), os.fspath(directory), None, sys.MS_BIND)
    locked = sys.MS_NOSUID | sys.MS_NODEV | sys.MS_NOEXEC
    sys.mount(None, os.fspath(directory), None, sys.MS_REMOUNT | sys.MS_BIND | locked)
    os.chdir(directory)
    sys.pivot_root(".", ".")
    sys.umount2(".", sys.MNT_DETACH)
    os.chdir("/")


def _set_limits() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    allowed = min(_OPEN_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, allowed))


def _drop_privileges() -> None:
    kept = {CAPABILITY_NAMES.index(name) for name in _CAPABILITIES}
    for bit in range(64):
        try:
            if bit not in kept and sys.prctl(sys.PR_CAPBSET_READ, bit):
                sys.prctl(sys.PR_CAPBSET_DROP, bit)
        except OSError:  # past the kernel's last capability
            break
    mask = sum(1 << bit for bit in kept)
    sys.capset(mask, mask, 0)
    sys.prctl(sys.PR_SET_NO_NEW_PRIVS, 1)
    sys.prctl(sys.PR_SET_DUMPABLE, 0)
