"""The kernel: its version, the namespaces and file systems it was built with, and what this process may do."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from podwright.cli.checks.finding import Finding, fail, ok, warn
from podwright.linux.capability_sets import bounding_and_permitted

# The least that works, and what newer kernels add.
_LEAST = (5, 6)  # openat2(2), pidfd_getfd(2)
_ADDITIONS = (
    ((5, 12), "idmapped mounts"),
    ((5, 14), "cgroup.kill"),
    ((5, 19), "idmapped mounts over overlayfs (user namespaces)"),
)
_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
# Without these no container is made; see capabilities(7).
_NEEDED = frozenset(
    {
        "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD", "CAP_NET_ADMIN",
        "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_ADMIN", "CAP_SYS_CHROOT",
        "CAP_SYS_PTRACE",
    }
)  # fmt: skip
_WANTED = {
    "CAP_SYS_RESOURCE": "oom_score_adj and limits of containers can't be set below our own, and are clamped",
    "CAP_NET_RAW": "containers can't be given raw sockets (ping)",
    "CAP_NET_BIND_SERVICE": "containers can't be given ports below 1024",
    "CAP_AUDIT_WRITE": "containers can't be given the right to write audit records (sshd, su)",
}


def findings() -> Iterator[Finding]:
    """All of this file."""
    yield version(os.uname().release)
    yield from namespaces(Path("/proc"))
    yield filesystem("overlay", Path("/proc/filesystems").read_text())
    yield seccomp(Path("/proc/sys/kernel/seccomp/actions_avail"))
    yield privileges(os.geteuid(), bounding_and_permitted())


def version(release: str) -> Finding:
    """The version, from uname(2)."""
    found = re.match(r"(\d+)\.(\d+)", release)
    number = (int(found[1]), int(found[2])) if found else (0, 0)
    if number < _LEAST:
        return fail("kernel", f"{release} is too old", f"boot a kernel of at least {_LEAST[0]}.{_LEAST[1]}")
    missing = [what for since, what in _ADDITIONS if number < since]
    if missing:
        return warn("kernel", f"{release} lacks {', '.join(missing)}", "a newer kernel has it; most pods need none")
    return ok("kernel", release)


def namespaces(proc: Path) -> Iterator[Finding]:
    """Kinds of namespaces, and whether user namespaces may be made."""
    missing = [kind for kind in _NAMESPACES if not os.path.lexists(proc / "self/ns" / kind)]
    if missing:
        yield fail("namespaces", f"the kernel has no {', '.join(missing)} namespaces", "boot a kernel that has them")
    else:
        yield ok("namespaces", "all kinds")
    try:
        most = int((proc / "sys/user/max_user_namespaces").read_text())
    except (OSError, ValueError):
        return
    if most == 0:
        yield warn(
            "user namespaces", "switched off: pods with hostUsers: false fail",
            "sysctl -w user.max_user_namespaces=15000",
        )  # fmt: skip


def filesystem(name: str, filesystems: str) -> Finding:
    """Whether the kernel knows a file system now; filesystems(5), proc(5)."""
    known = {line.split()[-1] for line in filesystems.splitlines() if line.strip()}
    if name in known:
        return ok("overlayfs", "known to the kernel")
    return fail("overlayfs", "not known to the kernel", f"modprobe {name}, and list it in /etc/modules-load.d")


def seccomp(actions: Path) -> Finding:
    """Whether system calls can be filtered."""
    if actions.exists():
        return ok("seccomp", "there")
    return warn("seccomp", "not there: containers run without a filter", "boot a kernel with CONFIG_SECCOMP_FILTER")


def privileges(uid: int, capabilities: frozenset[str]) -> Finding:
    """Whether whoever asks may do what the daemon must."""
    if uid != 0:
        return fail("privileges", f"running as uid {uid}", "run doctor and the daemon as root")
    missing = sorted(_NEEDED - capabilities)
    if missing:
        return fail("privileges", f"root, but without {', '.join(missing)}", "let the daemon have these capabilities")
    lacking = [f"{name}: {why}" for name, why in _WANTED.items() if name not in capabilities]
    if lacking:
        return warn("privileges", f"root, but without {'; '.join(lacking)}", "let the daemon have it if pods need it")
    return ok("privileges", "root with all capabilities that matter")
