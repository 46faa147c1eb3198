"""Which board QEMU gives a machine: a microvm where it can, else a q35. qemu-system-x86_64(1), `-M help`."""

from __future__ import annotations

import asyncio
from pathlib import Path

from podwright.base.files import write_plain
from podwright.linux.process import run
from podwright.vm.qemu import MICROVM, Q35

_DEADLINE_S = 10.0


def choose(wanted: str, qemu: Path, cache: Path) -> str:
    """`wanted`: a setting, "auto" among them; `cache`: the file that keeps the answer for this QEMU. Blocks.

    Raises ProcessFailed where QEMU can't be asked.
    """
    if wanted != "auto":
        return wanted
    key = f"{qemu} {qemu.stat().st_mtime_ns}"
    try:
        known, _, answer = cache.read_text().rpartition(" ")
        if known == key and answer in (MICROVM, Q35):
            return answer
    except OSError:
        pass  # not asked yet
    said = asyncio.run(run([qemu, "-M", "help"], timeout_s=_DEADLINE_S)).stdout.decode(errors="replace")
    found = MICROVM if any(line.split()[:1] == [MICROVM] for line in said.splitlines()) else Q35
    write_plain(cache, f"{key} {found}".encode())
    return found
