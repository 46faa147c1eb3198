"""crun on hosts with cgroup v1 and a v2 mount beside it ("hybrid").

crun up to 1.14 refuses to create a container there. It is content in a mount namespace in which
/sys/fs/cgroup/unified is not mounted, so it is created in one: made for that one call, in which only /sys/fs/cgroup
is private. Everything else keeps its peer groups, so volumes that are mounted later are seen (the namespace is a
copy of the moment) and propagation works in both directions. Only `create` looks at the layout; start, exec, kill,
state and delete work as they are. Figures: docs/decisions/0003-crun-on-hybrid-hosts.md.
"""

from __future__ import annotations

from pathlib import Path

from podwright.linux.mounts import mountinfo
from podwright.linux.process import find_program
from podwright.runtime.base import RuntimeCommand

UNIFIED = "/sys/fs/cgroup/unified"

# Numbers of unshare(2), mount(2), umount2(2); perl-base is part of every Debian and starts in a millisecond.
_PERL = (
    'my ($n, $c, $u) = ("none", "/sys/fs/cgroup", "/sys/fs/cgroup/unified");'
    'syscall({unshare}, 0x20000) == 0 or die "unshare: $!\\n";'  # CLONE_NEWNS
    'syscall({mount}, $n, $c, $n, 0x40000, 0) == 0 or die "make $c private: $!\\n";'  # MS_PRIVATE
    'syscall({umount2}, $u, 2) == 0 or die "unmount $u: $!\\n";'  # MNT_DETACH
    'exec {{$ARGV[0]}} @ARGV or die "exec $ARGV[0]: $!\\n";'
)
_SHELL = f'mount --make-private /sys/fs/cgroup && umount -l {UNIFIED} && exec "$@"'
_NUMBERS = {
    "x86_64": {"unshare": 272, "mount": 165, "umount2": 166},
    "aarch64": {"unshare": 97, "mount": 40, "umount2": 39},
}


def is_hybrid() -> bool:
    """Whether /sys/fs/cgroup/unified is a cgroup v2 mount beside v1 hierarchies."""
    return any(mount.target == UNIFIED and mount.fstype == "cgroup2" for mount in mountinfo())


def without_unified(program: Path, global_args: tuple[str, ...], machine: str) -> RuntimeCommand:
    """A command that runs `program` where `unified` is not mounted; by perl, else by unshare(1) and a shell."""
    perl, numbers = find_program("perl"), _NUMBERS.get(machine)
    if perl is not None and numbers is not None:
        return RuntimeCommand(perl, ("-e", _PERL.format(**numbers), str(program), *global_args))
    unshare = find_program("unshare") or Path("/usr/bin/unshare")
    shell = ("-m", "--propagation", "unchanged", "/bin/sh", "-c", _SHELL, "sh")
    return RuntimeCommand(unshare, (*shell, str(program), *global_args))
