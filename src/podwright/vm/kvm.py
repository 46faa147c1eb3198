"""Whether guests run under KVM here: found out by running one, as /dev/kvm may open, and make machines that hang.

The guest is the machines' own kernel without a file system: where it gets as far as missing that, it panics, which ends
QEMU. The answer is kept until the next boot, or another QEMU or kernel. Blocks, for programs of one thread.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from podwright.base.errors import PodwrightError
from podwright.base.files import write_plain
from podwright.linux.process import run
from podwright.state.boot import boot_id

DEVICE = Path("/dev/kvm")
_MISSES_ROOT = b"Kernel panic"
_DEADLINE_S = 10.0


def works(qemu: Path, kernel: Path, machine: str, cache: Path) -> bool:
    """`cache`: the file that keeps the answer."""
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return False
    key = f"{boot_id()} {qemu} {qemu.stat().st_mtime_ns} {kernel.name}"
    try:
        known, _, answer = cache.read_text().rpartition(" ")
        if known == key:
            return answer == "yes"
    except OSError:
        pass  # not asked yet
    found = asyncio.run(runs(qemu, kernel, machine, "kvm", deadline_s=_DEADLINE_S))
    write_plain(cache, f"{key} {'yes' if found else 'no'}".encode())
    return found


async def runs(qemu: Path, kernel: Path, machine: str, accelerator: str, *, deadline_s: float) -> bool:
    """Whether the kernel gets to where it wants its file system."""
    processor = "host" if accelerator == "kvm" else "max"
    argv = [
        str(qemu), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
        "-M", f"{machine},accel={accelerator}", "-cpu", processor, "-m", "256", "-kernel", str(kernel),
        "-append", "console=ttyS0 quiet panic=-1 reboot=t tsc_early_khz=2000000",
    ]  # fmt: skip
    try:
        done = await run(argv, timeout_s=deadline_s, check=False)
    except PodwrightError:
        return False
    return done.returncode == 0 and _MISSES_ROOT in done.stdout
