"""Shorten the wait of the next processes that move into cgroups: every container, and every exec.

The kernel guards such moves by one lock for the whole machine. Its first taker after a pause waits for an RCU grace
period (some 10 ms), those that come shortly after do not: percpu_down_write, rcu_sync_enter. So while a runtime
still starts up, a thread of ours moves this process from its cgroup to the same cgroup, which changes nothing but
takes the lock; the runtime finds the grace period passed. docs/decisions/0006-cgroup-grace-period.md has the figures.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from podwright.linux.mounts import MountInfo, mountinfo

_pending: asyncio.Future[None] | None = None


@contextmanager
def short_attach() -> Iterator[None]:
    """Begin the grace period now; inside the block something is started that will move to a cgroup."""
    global _pending
    if _pending is None or _pending.done():
        _pending = asyncio.get_running_loop().run_in_executor(None, _attach_self)
    try:
        yield
    finally:
        _pending.cancel()  # nobody needs it any more; a thread that has begun ends by itself


def _attach_self() -> None:
    procs = own_procs_file(_hierarchy(), Path("/proc/self/cgroup").read_text())
    if procs is None:
        return
    try:
        fd = os.open(procs, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, b"%d" % os.getpid())
        finally:
            os.close(fd)
    except OSError:
        return  # no such cgroup from here, or not ours to write: the next attach takes its time


@functools.cache
def _hierarchy() -> tuple[str, str]:
    return find_hierarchy(mountinfo())


def find_hierarchy(mounts: Iterable[MountInfo]) -> tuple[str, str]:
    """Mount point, and the controllers by which /proc/PID/cgroup names it: cgroup v2 ('') before any of v1's."""
    found = ("", "")
    for mount in mounts:
        if mount.fstype == "cgroup2":
            return mount.target, ""
        if mount.fstype == "cgroup" and not found[0]:
            names = [o for o in mount.super_options if o not in ("rw", "ro") and not o.startswith("release_agent")]
            found = (mount.target, ",".join(names))
    return found


def own_procs_file(hierarchy: tuple[str, str], cgroups: str) -> Path | None:
    """cgroup.procs of the cgroup that a process with these lines of /proc/PID/cgroup is in; cgroups(7)."""
    mount, controllers = hierarchy
    for line in cgroups.splitlines():
        _number, names, path = line.split(":", 2)
        if mount and names == controllers and "/.." not in path:
            return Path(mount + path, "cgroup.procs")
    return None
