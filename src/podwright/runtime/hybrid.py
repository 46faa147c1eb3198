"""crun on hosts with hybrid cgroups: hide `/sys/fs/cgroup/unified` from the one call that minds it.

crun refuses to create a container where a cgroup v2 hierarchy with controllers is mounted beside the v1 ones.
Only `create` looks; every other verb works as it is. So `create` alone runs behind a few instructions that take
a mount namespace of their own, make `/sys/fs/cgroup` private there, unmount `unified`, and become crun. Nothing
else changes propagation: volumes that are mounted later are seen, because the namespace is made at that moment
and ends with the call, and shared mounts keep their peers. The host's own mounts are never touched, because the
unmount happens below a mount that has just left its peer group. docs/decisions/0005-crun-on-hybrid-hosts.md has
the measurements. unshare(2), mount_namespaces(7).
"""

from __future__ import annotations

import os
from pathlib import Path

from podwright.base.errors import FailedPrecondition
from podwright.linux.process import find_program
from podwright.runtime.base import RuntimeCommand

CGROUPS = Path("/sys/fs/cgroup")
UNIFIED = CGROUPS / "unified"

# unshare, mount, umount2: x86-64's own numbers, asm-generic's for the others.
_SYSCALLS = {"x86_64": (272, 165, 166), "aarch64": (97, 40, 39), "riscv64": (97, 40, 39)}

# CLONE_NEWNS 0x20000; MS_PRIVATE 0x40000; MNT_DETACH 2. perl takes the address of a variable only.
_PERL = """
my ($none, $cgroups, $unified) = ("none", "{cgroups}", "{unified}");
syscall({unshare}, 0x20000) == 0 or die "unshare: $!\\n";
syscall({mount}, $none, $cgroups, $none, 0x40000, 0) == 0 or die "make $cgroups private: $!\\n";
syscall({umount2}, $unified, 2) == 0 or die "umount $unified: $!\\n";
exec {{ $ARGV[0] }} @ARGV or die "exec $ARGV[0]: $!\\n";
"""

_SHELL = 'mount --make-private {cgroups} && umount {unified} && exec "$@"'


def needed() -> bool:
    """Whether this host is one that crun refuses: `unified` is mounted and has controllers."""
    try:
        return bool((UNIFIED / "cgroup.controllers").read_text().strip())
    except OSError:
        return False


def wrapped(command: RuntimeCommand) -> RuntimeCommand:
    """`command` behind the wrapper: perl's bare system calls where it knows their numbers, else util-linux.

    Raises FailedPrecondition where neither is installed.
    """
    perl, numbers = find_program("perl"), _SYSCALLS.get(os.uname().machine)
    if perl is not None and numbers is not None:
        unshare, mount, umount2 = numbers
        script = _PERL.format(cgroups=CGROUPS, unified=UNIFIED, unshare=unshare, mount=mount, umount2=umount2)
        return RuntimeCommand(perl, ("-e", script, str(command.path), *command.global_args))
    tool, shell = find_program("unshare"), find_program("sh")
    if tool is None or shell is None:
        raise FailedPrecondition("crun on hybrid cgroups needs perl or util-linux's unshare: install one, or use runc")
    script = _SHELL.format(cgroups=CGROUPS, unified=UNIFIED)
    arguments = ("--mount", "--propagation", "unchanged", str(shell), "-c", script, "crun")
    return RuntimeCommand(tool, (*arguments, str(command.path), *command.global_args))
