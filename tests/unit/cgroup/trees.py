"""Cgroup directories that are plain files, for the logic that only reads and writes them."""

from __future__ import annotations

from pathlib import Path

V1_MEMORY_STAT = """\
cache 4096
rss 8192
inactive_file 1
hierarchical_memory_limit 9223372036854771712
total_cache 40960
total_rss 81920
total_mapped_file 512
total_swap 2048
total_pgfault 77
total_pgmajfault 7
total_inactive_file 30000
"""
V2_MEMORY_STAT = """\
anon 81920
file 40960
file_mapped 512
inactive_anon 5
inactive_file 30000
pgfault 77
pgmajfault 7
"""
PRESSURE = """\
some avg10=1.50 avg60=0.25 avg300=0.00 total=12345
full avg10=0.50 avg60=0.00 avg300=0.00 total=678
"""


def write(directory: Path, **files: object) -> None:
    """Files by name; `__` stands for the dot."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (directory / name.replace("__", ".")).write_text(f"{content}\n" if "\n" not in str(content) else str(content))


def v1(root: Path, path: str, **changes: object) -> dict[str, str]:
    """A container's cgroup on v1; the mounts by controller."""
    mounts = {name: str(root / name) for name in ("cpu", "cpuacct", "memory", "pids", "freezer", "cpuset")}
    for name in mounts:
        write(root / name / path.strip("/"), cgroup__procs="")
    write(root / "cpu" / path.strip("/"), cpu__stat="nr_periods 10\nnr_throttled 3\nthrottled_time 900\n")
    write(
        root / "cpuacct" / path.strip("/"),
        cpuacct__usage=5000, cpuacct__usage_user=3000, cpuacct__usage_sys=2000,
    )  # fmt: skip
    memory = {
        "memory__usage_in_bytes": 100000, "memory__stat": V1_MEMORY_STAT, "memory__limit_in_bytes": 9223372036854771712,
        "memory__max_usage_in_bytes": 200000, "memory__failcnt": 2,
        "memory__oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n", **changes,
    }  # fmt: skip
    write(root / "memory" / path.strip("/"), **memory)
    write(root / "pids" / path.strip("/"), pids__current=3, pids__max="max")
    return mounts


def v2(root: Path, path: str, **changes: object) -> str:
    """A container's cgroup on v2; the mount."""
    files = {
        "cgroup__procs": "",
        "cpu__stat": "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 10\nnr_throttled 3\nthrottled_usec 9\n",
        "cpu__pressure": PRESSURE, "memory__pressure": PRESSURE, "io__pressure": PRESSURE,
        "memory__current": 100000, "memory__stat": V2_MEMORY_STAT, "memory__max": "max", "memory__peak": 200000,
        "memory__swap__current": 2048, "memory__swap__max": "max",
        "memory__events": "low 0\nhigh 0\nmax 2\noom 1\noom_kill 4\noom_group_kill 1\n",
        "pids__current": 3, "pids__max": 100, **changes,
    }  # fmt: skip
    write(root / path.strip("/"), **files)
    return str(root)


def detailed_v1(root: Path, path: str, **changes: object) -> dict[str, str]:
    """The same with what only metrics ask for."""
    faults = V1_MEMORY_STAT.replace("inactive_file 1\n", "inactive_file 1\npgfault 66\npgmajfault 6\n")
    memory = {
        "memory__stat": faults, "memory__limit_in_bytes": 64 << 20, "memory__soft_limit_in_bytes": 32 << 20,
        "memory__memsw__limit_in_bytes": 96 << 20, "memory__kmem__usage_in_bytes": 7000, **changes,
    }  # fmt: skip
    mounts = v1(root, path, **memory)
    mounts |= {name: str(root / name) for name in ("blkio", "hugetlb")}
    here = path.strip("/")
    write(root / "cpu" / here, cpu__shares=1024, cpu__cfs_period_us=100000, cpu__cfs_quota_us=20000)
    write(
        root / "blkio" / here,
        blkio__throttle__io_service_bytes_recursive="8:0 Read 4096\n8:0 Write 8192\n8:0 Sync 1\n253:1 Write 512\n"
        "Total 12800\n",
        blkio__throttle__io_serviced_recursive="8:0 Read 3\n8:0 Write 5\n253:1 Write 1\nTotal 9\n",
    )
    write(root / "hugetlb" / here, hugetlb__2MB__usage_in_bytes=2 << 20, hugetlb__2MB__max_usage_in_bytes=4 << 20)
    return mounts


def detailed_v2(root: Path, path: str, **changes: object) -> str:
    """The same with what only metrics ask for."""
    files = {
        "memory__stat": V2_MEMORY_STAT + "kernel 7000\n", "memory__max": 64 << 20, "memory__min": 32 << 20,
        "memory__swap__max": 16 << 20, "cpu__weight": 39, "cpu__max": "20000 100000",
        "io__stat": "8:0 rbytes=4096 wbytes=8192 rios=3 wios=5 dbytes=0 dios=0\n", "hugetlb__2MB__current": 2 << 20,
        **changes,
    }  # fmt: skip
    return v2(root, path, **files)
