"""What only metrics ask of a cgroup, beside its `CgroupStats`: at length, from files that no poll has to read.

`v1` and `v2` take a function that says where a file of the cgroup is. Files that aren't there are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from podwright.cgroup import files

_HUGE_PAGES = Path("/sys/kernel/mm/hugepages")
At = Callable[[str], str]


@dataclass(frozen=True)
class DeviceIo:
    """What went to and from one block device."""

    major: int
    minor: int
    read_bytes: int = 0
    reads: int = 0
    written_bytes: int = 0
    writes: int = 0


@dataclass(frozen=True)
class HugePages:
    """Huge pages of one size (`2MB`). `peak_bytes` is None where the kernel doesn't remember it (v2)."""

    page_size: str
    usage_bytes: int
    peak_bytes: int | None = None


@dataclass(frozen=True)
class CpuTimes:
    """Where the CPU time went, in nanoseconds, and what the quota did about it."""

    user_ns: int = 0
    system_ns: int = 0
    periods: int = 0
    throttled_periods: int = 0
    throttled_ns: int = 0


@dataclass(frozen=True)
class Tasks:
    """Threads of all processes. `limit` 0: none."""

    current: int = 0
    limit: int = 0


@dataclass(frozen=True)
class LimitsInForce:
    """Limits as the kernel has them; 0: none. Swap is with memory on v1 and alone on v2, as the kernel counts."""

    cpu_shares: int = 0
    cpu_period_us: int = 0
    cpu_quota_us: int = 0
    memory_bytes: int = 0
    memory_reservation_bytes: int = 0
    swap_bytes: int = 0


@dataclass(frozen=True)
class CgroupDetails:
    """`cpu` and `tasks` are None without their controller. `memory_failures`: how often the limit was reached.

    `own_page_faults`: without those of cgroups below, which v2 doesn't tell apart.
    """

    limits: LimitsInForce
    cpu: CpuTimes | None = None
    tasks: Tasks | None = None
    io: tuple[DeviceIo, ...] = ()
    huge_pages: tuple[HugePages, ...] = ()
    memory_peak_bytes: int | None = None
    memory_failures: int | None = None
    kernel_memory_bytes: int | None = None
    own_page_faults: int | None = None
    own_major_page_faults: int | None = None
    oom_kills: int = 0


def v1(at: At) -> CgroupDetails:
    """kernel: admin-guide/cgroup-v1."""
    memory = files.read_table(at("memory.stat")) or {}
    return CgroupDetails(
        limits=LimitsInForce(
            cpu_shares=files.read_number(at("cpu.shares")) or 0,
            cpu_period_us=files.read_number(at("cpu.cfs_period_us")) or 0,
            cpu_quota_us=files.read_limit(at("cpu.cfs_quota_us")),
            memory_bytes=files.read_limit(at("memory.limit_in_bytes")),
            memory_reservation_bytes=files.read_limit(at("memory.soft_limit_in_bytes")),
            swap_bytes=files.read_limit(at("memory.memsw.limit_in_bytes")),
        ),
        cpu=_cpu_v1(at),
        tasks=_tasks(at),
        io=_throttle_io(at),
        huge_pages=tuple(_huge_pages(at, "usage_in_bytes", "max_usage_in_bytes")),
        memory_peak_bytes=files.read_number(at("memory.max_usage_in_bytes")),
        memory_failures=files.read_number(at("memory.failcnt")),
        kernel_memory_bytes=files.read_number(at("memory.kmem.usage_in_bytes")),
        own_page_faults=memory.get(b"pgfault"),
        own_major_page_faults=memory.get(b"pgmajfault"),
        oom_kills=(files.read_table(at("memory.oom_control")) or {}).get(b"oom_kill", 0),
    )


def v2(at: At) -> CgroupDetails:
    """kernel: admin-guide/cgroup-v2.rst."""
    memory = files.read_table(at("memory.stat")) or {}
    events = files.read_table(at("memory.events")) or {}
    quota, period = (files.read(at("cpu.max")) or b"max 0").split()
    weight = files.read_number(at("cpu.weight"))
    return CgroupDetails(
        limits=LimitsInForce(
            cpu_shares=shares_of(weight) if weight else 0,
            cpu_period_us=int(period),
            cpu_quota_us=0 if quota == b"max" else int(quota),
            memory_bytes=files.read_limit(at("memory.max")),
            memory_reservation_bytes=files.read_limit(at("memory.min")),
            swap_bytes=files.read_limit(at("memory.swap.max")),
        ),
        cpu=_cpu_v2(at),
        tasks=_tasks(at),
        io=_stat_io(at),
        huge_pages=tuple(_huge_pages(at, "current", None)),
        memory_peak_bytes=files.read_number(at("memory.peak")),
        memory_failures=events.get(b"max"),
        kernel_memory_bytes=_kernel_memory(memory),
        own_page_faults=memory.get(b"pgfault"),
        own_major_page_faults=memory.get(b"pgmajfault"),
        oom_kills=events.get(b"oom_kill", 0),
    )


def shares_of(weight: int) -> int:
    """cpu.weight 1 to 10000 onto cpu.shares 2 to 262144: the way back of `v2.weight_of`."""
    return 2 + (weight - 1) * 262142 // 9999


def _kernel_memory(memory: Mapping[bytes, int]) -> int | None:
    """The kernel sums it up since 5.18."""
    parts = [memory[name] for name in (b"kernel_stack", b"pagetables", b"percpu", b"sock", b"slab") if name in memory]
    return memory.get(b"kernel", sum(parts) if parts else None)


def _cpu_v1(at: At) -> CpuTimes | None:
    user, system = files.read_number(at("cpuacct.usage_user")), files.read_number(at("cpuacct.usage_sys"))
    if user is None or system is None:
        return None
    table = files.read_table(at("cpu.stat")) or {}
    return CpuTimes(
        user, system, table.get(b"nr_periods", 0), table.get(b"nr_throttled", 0), table.get(b"throttled_time", 0)
    )


def _cpu_v2(at: At) -> CpuTimes | None:
    table = files.read_table(at("cpu.stat"))
    if table is None:
        return None
    return CpuTimes(
        table.get(b"user_usec", 0) * 1000, table.get(b"system_usec", 0) * 1000, table.get(b"nr_periods", 0),
        table.get(b"nr_throttled", 0), table.get(b"throttled_usec", 0) * 1000,
    )  # fmt: skip


def _tasks(at: At) -> Tasks | None:
    current = files.read_number(at("pids.current"))
    return None if current is None else Tasks(current, files.read_limit(at("pids.max")))


def _throttle_io(at: At) -> tuple[DeviceIo, ...]:
    """Lines `MAJOR:MINOR OPERATION NUMBER`, and a total. blkio-controller.rst."""
    names = (
        ("blkio.throttle.io_service_bytes_recursive", "read_bytes", "written_bytes"),
        ("blkio.throttle.io_serviced_recursive", "reads", "writes"),
    )
    devices: dict[tuple[int, int], dict[str, int]] = {}
    for name, read, written in names:
        for line in (files.read(at(name)) or b"").splitlines():
            device, _, rest = line.partition(b" ")
            operation, _, number = rest.partition(b" ")
            if operation in (b"Read", b"Write"):
                counters = devices.setdefault(_numbers(device), {})
                counters[read if operation == b"Read" else written] = int(number)
    return tuple(DeviceIo(major, minor, **counters) for (major, minor), counters in devices.items())


def _stat_io(at: At) -> tuple[DeviceIo, ...]:
    """Lines `MAJOR:MINOR rbytes=… wbytes=… rios=… wios=…`; a device without counters has a line of its numbers."""
    found = []
    for line in (files.read(at("io.stat")) or b"").splitlines():
        device, *pairs = line.split()
        values = {key: int(number) for key, _, number in (pair.partition(b"=") for pair in pairs) if number.isdigit()}
        if values:
            found.append(
                DeviceIo(
                    *_numbers(device), values.get(b"rbytes", 0), values.get(b"rios", 0), values.get(b"wbytes", 0),
                    values.get(b"wios", 0),
                )
            )  # fmt: skip
    return tuple(found)


def _numbers(device: bytes) -> tuple[int, int]:
    major, _, minor = device.partition(b":")
    return int(major), int(minor)


def _huge_pages(at: At, usage: str, peak: str | None) -> Iterator[HugePages]:
    for size in page_sizes():
        now = files.read_number(at(f"hugetlb.{size}.{usage}"))
        if now is not None:
            yield HugePages(size, now, files.read_number(at(f"hugetlb.{size}.{peak}")) if peak else None)


@cache
def page_sizes(directory: Path = _HUGE_PAGES) -> tuple[str, ...]:
    """The kernel's sizes of huge pages, as names of cgroup files spell them: 2MB, 1GB."""
    if not directory.is_dir():
        return ()
    kilobytes = sorted(int(entry.name.removeprefix("hugepages-").removesuffix("kB")) for entry in directory.iterdir())
    return tuple(_spelled(size) for size in kilobytes)


def _spelled(kilobytes: int) -> str:
    for unit, factor in (("GB", 1024 * 1024), ("MB", 1024)):
        if kilobytes >= factor:
            return f"{kilobytes // factor}{unit}"
    return f"{kilobytes}KB"
