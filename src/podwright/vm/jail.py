"""Who QEMU is, and what it has: nobody's user, no capability, no network, no directory with anything of the host's.

A machine's processor, devices and memory are QEMU's work, and whoever breaks out of the machine is QEMU. So it has a
user of its own for each machine, empty network, IPC and UTS namespaces, and a mount namespace in which the places of
sockets and data are empty; all that it needs it gets as descriptors. Its own seccomp filter (`-sandbox`) comes on top.
unshare(1), setpriv(1).
"""

from __future__ import annotations

import os

# Of the range that systemd leaves unused: systemd, UIDS-GIDS.md. Pids are below 2^22, so users end below 2^31.
_FIRST_USER = 1_900_000_000
_HIDDEN = ("/run", "/tmp", "/var", "/home", "/root", "/srv", "/mnt", "/media", "/dev/shm")
_HIDE = (
    'for d in {directories}; do [ ! -d $d ] || mount -t tmpfs -o ro,size=4k,mode=555 none $d || exit; done; exec "$@"'
)
_KVM = "/dev/kvm"


def jailed(argv: list[str], *, keeper: int, kvm: bool) -> list[str]:
    """`argv` in a jail. `keeper`: pid of who keeps the machine; QEMU ends with it."""
    hide = _HIDE.format(directories=" ".join(_HIDDEN))
    user = str(_FIRST_USER + keeper)
    groups = ["--groups", str(os.stat(_KVM).st_gid)] if kvm else ["--clear-groups"]
    return [
        "unshare", "--net", "--ipc", "--uts", "--mount", "--propagation", "private", "sh", "-c", hide, "sh",
        "setpriv", "--reuid", user, "--regid", user, *groups, "--no-new-privs", "--inh-caps=-all",
        "--ambient-caps=-all", "--bounding-set=-all", "--pdeathsig", "KILL", *argv,
    ]  # fmt: skip


def beside(argv: list[str]) -> list[str]:
    """`argv`, which needs root's capabilities and the keeper's mounts, without any network."""
    return [
        "unshare", "--net", "--ipc", "--uts", "setpriv", "--no-new-privs", "--pdeathsig", "KILL", *argv,
    ]  # fmt: skip
