"""What the kernel limits a process to, read from its cgroups: the same words for v1 and v2."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

TOP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Limits:
    """Bytes and microseconds; None: no limit. `memory_and_swap` is the sum, as the CRI counts. `weight` is v2's, on v1
    the shares."""

    memory: int | None
    memory_and_swap: int | None
    weight: int
    quota: int | None
    period: int
    cpus: str


def limits_of(pid: int, *, above: bool = False) -> Limits:
    """Those of its cgroup, or of the one `above` that, which is the pod's."""
    memory, cpu, cpuset = (directory(pid, controller) for controller in ("memory", "cpu", "cpuset"))
    if above:
        memory, cpu, cpuset = memory.parent, cpu.parent, cpuset.parent
    if (memory / "memory.max").exists():
        limit, swap = _number(memory / "memory.max"), _number(memory / "memory.swap.max")
        quota, period = (cpu / "cpu.max").read_text().split()
        return Limits(
            limit, None if limit is None or swap is None else limit + swap, int((cpu / "cpu.weight").read_text()),
            None if quota == "max" else int(quota), int(period), (cpuset / "cpuset.cpus.effective").read_text().strip(),
        )  # fmt: skip
    return Limits(
        _number(memory / "memory.limit_in_bytes"), _number(memory / "memory.memsw.limit_in_bytes"),
        int((cpu / "cpu.shares").read_text()), _number(cpu / "cpu.cfs_quota_us"),
        int((cpu / "cpu.cfs_period_us").read_text()), (cpuset / "cpuset.cpus").read_text().strip(),
    )  # fmt: skip


def directory(pid: int, controller: str) -> Path:
    """The process's cgroup in the hierarchy that has the controller. cgroups(7)."""
    paths: dict[str, str] = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _number, names, path = line.split(":", 2)
        paths.update(dict.fromkeys(names.split(","), path))
    if controller in paths:
        return TOP / controller / paths[controller].lstrip("/")
    return TOP / paths[""].lstrip("/")


def _number(path: Path) -> int | None:
    text = path.read_text().strip()
    if text == "max" or int(text) < 0 or int(text) > 1 << 60:
        return None
    return int(text)
