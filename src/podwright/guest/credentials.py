"""Who a process is and what it may do: user, groups, capabilities, limits, system calls. For a forked child alone.

What the specification says is read before the fork (`Credentials`), and takes effect in two steps: `take_on`, and
`filter_calls` at the very end. capabilities(7), setpriv(1), seccomp(2).
"""

from __future__ import annotations

import base64
import os
import resource

from podwright.guest.failures import INVALID, UNSUPPORTED, Failure
from podwright.guest.fields import Object, get, objects, strings
from podwright.guest.kernel_files import write
from podwright.linux import syscalls
from podwright.linux.capability_sets import CAPABILITY_NAMES

COMPILED_SECCOMP = "run.oci.seccomp_bpf_data"
"""The annotation with the filter of linux.seccomp as a BPF program in base64: the host has the compiler."""

_PR_SET_KEEPCAPS, _PR_CAP_AMBIENT, _AMBIENT_RAISE, _AMBIENT_CLEAR = 8, 47, 2, 4
_SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")
_INSTRUCTION_BYTES = 8
_FILES = 1024


def compiled_filter(spec: Object) -> bytes:
    """The container's seccomp program, empty for none. Raises Failure."""
    linux = get(spec, "linux", dict, {}, within="spec.")
    text = get(get(spec, "annotations", dict, {}, within="spec."), COMPILED_SECCOMP, str, "")
    if not text:
        if linux.get("seccomp"):
            raise Failure(
                UNSUPPORTED, f"spec.linux.seccomp: has to come compiled, as the annotation {COMPILED_SECCOMP}"
            )
        return b""
    try:
        program = base64.b64decode(text, validate=True)
    except ValueError:
        program = b"?"
    if len(program) % _INSTRUCTION_BYTES:
        raise Failure(INVALID, f"spec.annotations.{COMPILED_SECCOMP}: is no BPF program")
    return program


class Credentials:
    """Of one process, checked. `program` is the seccomp filter."""

    def __init__(self, process: Object, within: str, program: bytes) -> None:
        user = get(process, "user", dict, {}, within=within)
        self.uid, self.gid = get(user, "uid", int, 0, within=within), get(user, "gid", int, 0, within=within)
        self.groups = [int(group) for group in get(user, "additionalGids", list, [], within=within)]
        self.umask = get(user, "umask", int, 0o022, within=within)
        self.no_new_privileges = get(process, "noNewPrivileges", bool, False, within=within)
        self.oom_score_adj = get(process, "oomScoreAdj", int, 0, within=within)
        sets = get(process, "capabilities", dict, {}, within=within)
        self.masks = {kind: _mask(strings(sets, kind, within=f"{within}capabilities.")) for kind in _SETS}
        self.rlimits = [_rlimit(limit, within) for limit in objects(process, "rlimits", within=within)]
        self.program = program

    def prepare(self) -> None:
        """What needs the machine's /proc and its root's powers. Raises OSError."""
        write("/proc/self/oom_score_adj", str(self.oom_score_adj))
        # The agent's own is higher; programs that use select(2) count on this one.
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, hard))
        for kind, soft, hard in self.rlimits:
            resource.setrlimit(kind, (soft, hard))

    def take_on(self) -> None:
        """Become the user, with just these capabilities. Raises OSError."""
        if not self.no_new_privileges:
            self.filter_calls()  # later there may not be the capability for it
        for number in range(len(CAPABILITY_NAMES)):
            if not self.masks["bounding"] >> number & 1:
                syscalls.prctl(syscalls.PR_CAPBSET_DROP, number)
        syscalls.prctl(_PR_SET_KEEPCAPS, 1)
        os.setgroups(self.groups)
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)
        os.umask(self.umask)
        syscalls.capset(self.masks["effective"], self.masks["permitted"], self.masks["inheritable"])
        syscalls.prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR)
        for number in range(len(CAPABILITY_NAMES)):
            if self.masks["ambient"] >> number & 1:
                syscalls.prctl(_PR_CAP_AMBIENT, _AMBIENT_RAISE, number)
        if self.no_new_privileges:
            syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)

    def filter_calls(self) -> None:
        """From now on. Raises OSError."""
        if self.program:
            syscalls.seccomp_set_filter(self.program)


def _mask(capabilities: list[str]) -> int:
    """Those that this kernel's list doesn't have can't be had, as in any runtime."""
    return sum(1 << CAPABILITY_NAMES.index(name) for name in set(capabilities) if name in CAPABILITY_NAMES)


def _rlimit(limit: Object, within: str) -> tuple[int, int, int]:
    name = get(limit, "type", str, within=f"{within}rlimits.")
    number = getattr(resource, name, None) if name.startswith("RLIMIT_") else None
    if number is None:
        raise Failure(INVALID, f"{within}rlimits: {name[:40]!r} is no limit")
    return number, _bounded(get(limit, "soft", int)), _bounded(get(limit, "hard", int))


def _bounded(value: int) -> int:
    return resource.RLIM_INFINITY if value < 0 or value >= 1 << 63 else value
