"""PID 1 of the machine: file systems, modules, the share; then the agent; then the end. init(1) as small as it gets.

The kernel starts it as /init, with the interpreter in the first line. Whatever goes wrong is written to the console and
ends the machine, which the host sees as the end of QEMU.
"""

from __future__ import annotations

import os
import resource
import sys

from podwright.guest import agent
from podwright.guest.machine import power_off
from podwright.guest.port import open_port
from podwright.guest.shares import SHARE
from podwright.linux import syscalls
from podwright.linux.links import set_up

MODULES = "/modules"
"""Files that are loaded in the order of their names."""

SHARE_TAG = "podwright"
SHARE_BY_9P = "podwright.share=9p"
# Written through, as the host's processes look at the same files; mappings can be shared. kernel: filesystems/9p.rst.
_9P_OPTIONS = "trans=virtio,version=9p2000.L,msize=262144,cache=mmap,access=user"
FILES = 1 << 20
_NODEV = syscalls.MS_NOSUID | syscalls.MS_NOEXEC | syscalls.MS_NODEV
_MOUNTS = (
    ("proc", "/proc", "proc", _NODEV, None),
    ("sysfs", "/sys", "sysfs", _NODEV, None),
    ("devtmpfs", "/dev", "devtmpfs", syscalls.MS_NOSUID, None),
    ("devpts", "/dev/pts", "devpts", syscalls.MS_NOSUID | syscalls.MS_NOEXEC, "ptmxmode=0666,mode=0620,gid=5"),
    ("cgroup2", "/sys/fs/cgroup", "cgroup2", _NODEV, None),
    ("tmpfs", "/run", "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=0755"),
    ("tmpfs", "/tmp", "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=1777"),
)


def main() -> None:
    """Never returns."""
    try:
        _leave_rootfs()
        for source, target, kind, flags, data in _MOUNTS:
            os.makedirs(target, exist_ok=True)
            syscalls.mount(source, target, kind, flags, data)
        _use_console("/dev/null")
        _raise_limits()
        _load_modules()
        _use_console("/dev/console")
        set_up("lo")
        _mount_share()
        agent.prepare_and_run(open_port())
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        power_off()


def _leave_rootfs() -> None:
    """The first file system can't be left by pivot_root(2), which containers need: a mount of it over itself can."""
    os.makedirs("/root.d", exist_ok=True)
    syscalls.mount("/", "/root.d", None, syscalls.MS_BIND)
    os.chdir("/root.d")
    syscalls.mount(".", "/", None, syscalls.MS_MOVE)
    os.chroot(".")
    os.chdir("/")


def _use_console(path: str) -> None:
    """As standard streams. A console on virtio isn't there when the kernel starts us, and neither are they then."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return
    for number in range(3):
        os.dup2(fd, number)
    if fd > 2:
        os.close(fd)
    sys.stdout = sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115 - as long as we live


def _raise_limits() -> None:
    """The kernel gives the first process 1024 descriptors, and few processes where there is little memory."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    resource.setrlimit(resource.RLIMIT_NPROC, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _load_modules() -> None:
    has_pci = bool(os.listdir("/sys/bus/pci/devices")) if os.path.isdir("/sys/bus/pci/devices") else False
    for name in sorted(os.listdir(MODULES)):
        if "virtio_pci" in name and not has_pci:
            continue
        fd = os.open(f"{MODULES}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.finit_module(fd)
        except OSError as error:
            sys.stderr.write(f"podwright: module {name}: {error.strerror}\n")
        finally:
            os.close(fd)


def _mount_share() -> None:
    """A machine without a share has no containers, and create says so."""
    os.makedirs(SHARE, exist_ok=True)
    with open("/proc/cmdline", encoding="utf-8") as file:
        kind, options = ("9p", _9P_OPTIONS) if SHARE_BY_9P in file.read().split() else ("virtiofs", None)
    try:
        syscalls.mount(SHARE_TAG, SHARE, kind, 0, options)
    except OSError as error:
        sys.stderr.write(f"podwright: no {kind} share {SHARE_TAG!r}: {error.strerror}\n")
