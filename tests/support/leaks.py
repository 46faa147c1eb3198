"""What a test may leave behind: nothing. A snapshot of the process and the machine, and the difference to a later one.

Only what this run can have made counts: neighbours on the same machine make mounts, links and cgroups too. Children
(and orphans, which come to us as their subreaper), descriptors and tasks are ours by nature; mounts, links, and
cgroups by the token in their names; address leases by the directory they are in; firewall rules by all of that.
"""

from __future__ import annotations

import gc
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from podwright.base.errors import PodwrightError
from podwright.linux import syscalls
from podwright.linux.nftables import Nftables
from tests.support import names

GRACE_S = 3.0
# gRPC and the interpreter make these once, lazily, for the whole process; a leaked event loop also leaves sockets.
_OWNED_BY_LIBRARIES = ("anon_inode:[eventpoll]", "anon_inode:[eventfd]")
_LEASE_DEPTH = 5
_nftables = Nftables()


@dataclass(frozen=True)
class Snapshot:
    """Children by (pid, start time), descriptors by what they refer to, and names with our token in them."""

    children: frozenset[tuple[int, str]]
    fds: Counter[str]
    mounts: Counter[str]
    links: frozenset[str]
    cgroups: frozenset[str]
    leases: frozenset[str]
    rules: Counter[str]


def become_subreaper() -> None:
    """Orphans of programs that tests start come to this process instead of init. prctl(2)."""
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)


def snapshot(*, rules: bool = False) -> Snapshot:
    """`rules`: the firewall's too, for tests that may change it. Takes 1 ms, or more where neighbours have many."""
    found = Counter(_rules() if rules else ())  # first, for it opens a socket once and keeps it
    return Snapshot(
        frozenset(_children()), _fds(), Counter(_mounts()), frozenset(_links()), frozenset(_cgroups()),
        frozenset(_leases(names.TEMPORARY, _LEASE_DEPTH)), found,
    )  # fmt: skip


def wait_for_leaks(before: Snapshot, *, rules: bool = False) -> list[str]:
    """What is here now and was not `before`, in words; things that are just ending get `GRACE_S` to do so."""
    found = _difference(before, snapshot(rules=rules))
    if not found:
        return []
    gc.collect()  # a cycle of Python objects that holds a descriptor is no leak
    deadline = time.monotonic() + GRACE_S
    while (found := _difference(before, snapshot(rules=rules))) and time.monotonic() < deadline:
        time.sleep(0.01)  # noqa: TID251 - between tests no event loop runs
    return found


def _difference(before: Snapshot, after: Snapshot) -> list[str]:
    return [
        *(f"process {pid}: {_command(pid)}" for pid, start in sorted(after.children - before.children)),
        *(f"descriptor of {target}" for target in (after.fds - before.fds).elements()),
        *(f"mount at {target}" for target in (after.mounts - before.mounts).elements()),
        *(f"network link {name}" for name in sorted(after.links - before.links)),
        *(f"cgroup {path}" for path in sorted(after.cgroups - before.cgroups)),
        *(f"address lease {path}" for path in sorted(after.leases - before.leases)),
        *(f"firewall rule: {rule}" for rule in (after.rules - before.rules).elements()),
    ]


def _children() -> Iterator[tuple[int, str]]:
    for task in os.listdir("/proc/self/task"):
        try:
            pids = Path(f"/proc/self/task/{task}/children").read_text().split()
        except OSError:  # the thread ended
            continue
        for pid in map(int, pids):
            fields = _stat(pid)
            if fields and not (fields[0] == "Z" and _reap_orphan(pid)):
                yield pid, fields[19]


def _stat(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return []
    return text[text.rindex(")") + 2 :].split()


def _reap_orphan(pid: int) -> bool:
    """Collect a dead orphan that came to us. A dead child that a Process object still has to wait for is a leak."""
    if any(getattr(thing, "pid", None) == pid for thing in _unwaited_processes()):
        return False
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass
    return True


def _unwaited_processes() -> Iterator[object]:
    for thing in gc.get_objects():
        if type(thing).__name__ == "Popen" and getattr(thing, "returncode", 0) is None:
            yield thing


def _command(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "(gone)"
    return words or "(zombie that nobody waits for)"


def _fds() -> Counter[str]:
    targets: Counter[str] = Counter()
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:  # the listing's own descriptor
            continue
        if target not in _OWNED_BY_LIBRARIES:
            targets[target] += 1
    return targets


def _mounts() -> Iterator[str]:
    token = names.TOKEN.encode()
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        if token in line:
            yield line.split(b" ")[4].decode(errors="replace")


def _links() -> Iterator[str]:
    """Our bridges, and whatever hangs on one: a veth's name is the bridge plugin's choice."""
    for name in os.listdir("/sys/class/net"):
        try:
            master = os.path.basename(os.readlink(f"/sys/class/net/{name}/master"))
        except OSError:
            master = ""
        if name.startswith(names.LINK_PREFIX) or master.startswith(names.LINK_PREFIX):
            yield name


def _rules() -> Iterator[str]:
    """Of nftables, which iptables' rules are kept in as well: those that name something of ours."""
    words = (names.TOKEN, names.LINK_PREFIX, *names.MADE)
    try:
        text = _nftables.apply("list ruleset")
    except PodwrightError:  # not installed
        return
    yield from (line.strip() for line in text.splitlines() if any(word in line for word in words))


def _cgroups() -> Iterator[str]:
    top = "/sys/fs/cgroup"
    for directory in (top, *(entry.path for entry in os.scandir(top) if entry.is_dir(follow_symlinks=False))):
        try:
            entries = os.listdir(directory)
        except OSError:
            continue
        yield from (f"{directory}/{name}" for name in entries if name.startswith(names.CGROUP_PREFIX))


def _leases(directory: Path, depth: int) -> Iterator[str]:
    """Files named by an address below a directory called `ipam`, where host-local keeps leases."""
    try:
        entries = [entry for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for entry in entries:
        if entry.name == "ipam":
            files = (path for path in Path(entry.path).glob("*/*") if path.is_file())
            yield from (str(path) for path in files if path.name[0].isdigit() or ":" in path.name)
        elif depth > 0:
            yield from _leases(Path(entry.path), depth - 1)
