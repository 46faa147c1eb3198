"""Pressure stall information: the kernel's *.pressure files of a cgroup. kernel: accounting/psi.rst.

Every cgroup of the v2 hierarchy has them, whatever controllers it has: so also on hybrid hosts, where the counters
are v1's.
"""

from __future__ import annotations

from podwright.cgroup import files
from podwright.cgroup.base import Pressure, PressureStats


def read_pressure(path: str) -> PressureStats | None:
    """A pressure file; None where the kernel keeps none (CONFIG_PSI, psi=, cgroup.pressure)."""
    data = files.read(path)
    if not data:
        return None
    lines: dict[str, Pressure] = {}
    for line in data.decode().splitlines():
        kind, *pairs = line.split()
        values = dict(pair.split("=", 1) for pair in pairs)
        lines[kind] = Pressure(
            float(values["avg10"]), float(values["avg60"]), float(values["avg300"]), int(values["total"])
        )
    return PressureStats(lines["some"], lines.get("full"))


def is_populated(directory: str) -> bool:
    """Whether a process lives in the cgroup or below it. cgroup-v2.rst, cgroup.events."""
    return bool((files.read_table(f"{directory}/cgroup.events") or {}).get(b"populated"))
