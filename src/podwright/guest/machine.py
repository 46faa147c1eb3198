"""What containers of the machine have in common: host name, sysctls, shared memory, processors; and its end."""

from __future__ import annotations

import os
import socket

from podwright.guest.failures import INVALID, UNSUPPORTED, Failure
from podwright.guest.fields import Object
from podwright.guest.kernel_files import read, write
from podwright.guest.shares import SHM
from podwright.linux import syscalls

_SYSTEM = "/sys/devices/system"


def use_host_name(text: str) -> None:
    """Set it; an empty one changes nothing."""
    if text:
        try:
            socket.sethostname(text)
        except OSError as error:
            raise Failure(INVALID, f"hostname: {text[:100]!r}: {error.strerror}") from None


def use_sysctls(sysctls: dict[str, str]) -> None:
    """Set each. Raises Failure with its name."""
    for name, value in sysctls.items():
        parts = name.split("/" if "/" in name else ".")
        path = "/".join(["/proc/sys", *parts])
        if ".." in parts or not os.path.isfile(path):
            raise Failure(UNSUPPORTED, f"sysctl {name}: the machine's kernel has none of this name")
        try:
            write(path, value)
        except OSError as error:
            raise Failure(INVALID, f"sysctl {name}: {value[:100]!r}: {error.strerror}") from None


def share_memory(options: str) -> None:
    """Mount the containers' /dev/shm, if that has not been done. `options` are tmpfs(5)'s: size=64m."""
    if not os.path.ismount(SHM):
        os.makedirs(SHM, exist_ok=True)
        flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
        syscalls.mount("shm", SHM, "tmpfs", flags, f"mode=1777,{options}".rstrip(","))


def bring_online() -> Object:
    """Processors and memory that were plugged in; what there is then."""
    for kind in ("cpu", "memory"):
        for name in sorted(os.listdir(f"{_SYSTEM}/{kind}")) if os.path.isdir(f"{_SYSTEM}/{kind}") else ():
            path = f"{_SYSTEM}/{kind}/{name}/online"
            if read(path).strip() == "0":
                write(path, "1")
    return {"cpus": os.cpu_count() or 1, "memory_bytes": memory_bytes()}


def memory_bytes() -> int:
    """All there is for the kernel to give away."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def uptime_s() -> float:
    """Since the kernel began."""
    return float(read("/proc/uptime").split()[0])


def power_off() -> None:
    """A reset, at which QEMU with -no-reboot ends: works with and without ACPI."""
    os.sync()
    syscalls.reboot(syscalls.RB_AUTOBOOT)
