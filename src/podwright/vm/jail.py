"""Who QEMU is, and what it has: nobody's user, no capability, no network, no directory with anything of the host's.

A machine's processor, devices and memory are QEMU's work, and whoever breaks out of the machine is QEMU. So it has a
user of its own for each machine, empty network, IPC and UTS namespaces, and a mount namespace in which the places of
sockets and data are empty; all that it needs it gets as descriptors. Where it serves the machine's files itself (9p) it
has rights over these, and a root in which there is nothing else. Its own seccomp filter (`-sandbox`) comes on top.
unshare(1), setpriv(1), pivot_root(8).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

# Of the range that systemd leaves unused: systemd, UIDS-GIDS.md. Pids are below 2^22, so users end below 2^31.
_FIRST_USER = 1_900_000_000
_HIDDEN = ("/run", "/tmp", "/var", "/home", "/root", "/srv", "/mnt", "/media", "/dev/shm")
_HIDE = (
    'for d in {directories}; do [ ! -d $d ] || mount -t tmpfs -o ro,size=4k,mode=555 none $d || exit; done; exec "$@"'
)
_KVM = "/dev/kvm"
SHARE = "/share"
"""Where QEMU has the share that it serves itself."""

# What a program and its libraries are in, read-only; of /proc only the processes (proc(5), subset), for QEMU's own
# descriptors; no directory of the host can be reached from there.
_SYSTEM = "/usr /bin /sbin /lib /lib32 /lib64 /libx32 /opt /nix /gnu"
_OWN_ROOT = """
set -e; root=$1 share=$2 devices=$3; shift 3
mount -t tmpfs -o size=1m,mode=755,nosuid,nodev none "$root"
for d in {system}; do
  if [ -L $d ]; then cp -P $d "$root$d"
  elif [ -d $d ]; then
    mkdir "$root$d"; mount --bind $d "$root$d"; mount -o remount,bind,ro,nosuid,nodev "$root$d"
  fi
done
mkdir "$root/etc" "$root/dev" "$root/proc" "$root/old" "$root{share}"
[ ! -e /etc/ld.so.cache ] || cp /etc/ld.so.cache "$root/etc"
for d in $devices; do touch "$root$d"; mount --bind $d "$root$d"; done
mount -t proc -o subset=pid,nosuid,nodev,noexec proc "$root/proc"
mount --rbind "$share" "$root{share}"
mount -o remount,bind,ro,nosuid,nodev "$root"
cd "$root"; pivot_root . old; cd /; umount -l /old; exec "$@"
"""
# For files of all users, as virtiofsd has them: capabilities(7). Devices are none on its mounts.
_FOR_FILES = ("chown", "dac_override", "dac_read_search", "fowner", "fsetid", "mknod", "setfcap")


def jailed(argv: list[str], *, keeper: int, kvm: bool) -> list[str]:
    """`argv` in a jail. `keeper`: pid of who keeps the machine; QEMU ends with it."""
    hide = _HIDE.format(directories=" ".join(_HIDDEN))
    return [
        "unshare", "--net", "--ipc", "--uts", "--mount", "--propagation", "private", "sh", "-c", hide, "sh",
        *_unprivileged(keeper, kvm=kvm), *argv,
    ]  # fmt: skip


def jailed_with_share(argv: list[str], *, keeper: int, kvm: bool, root: Path, share: Path) -> list[str]:
    """`argv` in a jail where it has a directory as SHARE, and rights over all files there.

    With such rights nothing else of the host may be in sight: it gets a root of its own, with programs and libraries to
    read. `root`: an empty directory, where it is mounted; `share`: a shared mount, so that what comes there later is
    seen.
    """
    devices = ["/dev/null", "/dev/urandom", *([_KVM] if kvm else [])]
    script = _OWN_ROOT.format(system=_SYSTEM, share=SHARE)
    return [
        "unshare", "--net", "--ipc", "--uts", "--mount", "--propagation", "slave", "sh", "-c", script, "sh",
        str(root), str(share), " ".join(devices), *_unprivileged(keeper, kvm=kvm, capabilities=_FOR_FILES), *argv,
    ]  # fmt: skip


def _unprivileged(keeper: int, *, kvm: bool, capabilities: Sequence[str] = ()) -> list[str]:
    """setpriv and its options: a user of the machine's own, with these capabilities alone."""
    user = str(_FIRST_USER + keeper)
    groups = ["--groups", str(os.stat(_KVM).st_gid)] if kvm else ["--clear-groups"]
    kept = ",".join(["-all", *(f"+{name}" for name in capabilities)])
    return [
        "setpriv", "--reuid", user, "--regid", user, *groups, "--no-new-privs", f"--inh-caps={kept}",
        f"--ambient-caps={kept}", f"--bounding-set={kept}", "--pdeathsig", "KILL",
    ]  # fmt: skip


def beside(argv: list[str]) -> list[str]:
    """`argv`, which needs root's capabilities and the keeper's mounts, without any network."""
    return [
        "unshare", "--net", "--ipc", "--uts", "setpriv", "--no-new-privs", "--pdeathsig", "KILL", *argv,
    ]  # fmt: skip
