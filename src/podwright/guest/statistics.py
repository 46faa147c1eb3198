"""What a container or the machine uses, as plain numbers. kernel: admin-guide/cgroup-v2.rst, proc(5).

A file that isn't there leaves its numbers out; a limit of "max" is none.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from podwright.guest import cgroups
from podwright.guest.fields import Object
from podwright.guest.kernel_files import pairs, read
from podwright.guest.machine import memory_bytes

_CPU = {
    "usage_usec": "cpu_usage_us", "user_usec": "cpu_user_us", "system_usec": "cpu_system_us",
    "nr_periods": "cpu_periods", "nr_throttled": "cpu_throttled_periods", "throttled_usec": "cpu_throttled_us",
}  # fmt: skip
_MEMORY = {
    "anon": "memory_anon_bytes", "file": "memory_file_bytes", "inactive_file": "memory_inactive_file_bytes",
    "slab": "memory_slab_bytes", "pgfault": "memory_page_faults", "pgmajfault": "memory_major_page_faults",
}  # fmt: skip
_SINGLE = {
    "memory.current": "memory_bytes", "memory.max": "memory_limit_bytes", "memory.peak": "memory_peak_bytes",
    "memory.swap.current": "swap_bytes", "pids.current": "pids", "pids.max": "pids_limit",
}  # fmt: skip
_IO = {"rbytes": "read_bytes", "wbytes": "write_bytes", "rios": "reads", "wios": "writes"}
_INTERFACE = ("bytes", "packets", "errors", "dropped")
_COMMAND_LIMIT = 4096
_LINKS = "/sys/class/net"

Read = Callable[[str], str]


def of_container(directory: str) -> Object:
    """From its cgroup's files."""
    return from_files(lambda name: read(f"{directory}/{name}"))


def from_files(file: Read) -> Object:
    """`file` gives a file of the cgroup, empty where there is none. Pure."""
    found: Object = {}
    for flat, names in (("cpu.stat", _CPU), ("memory.stat", _MEMORY), ("memory.events", {"oom_kill": "oom_kills"})):
        values = pairs(file(flat))
        found |= {name: values[key] for key, name in names.items() if key in values}
    for single, name in _SINGLE.items():
        if (text := file(single).strip()).isdigit():
            found[name] = int(text)
    found["io"] = _io(file("io.stat"))
    pressure = {kind: parsed for kind in ("cpu", "memory", "io") if (parsed := _pressure(file(f"{kind}.pressure")))}
    return found | ({"pressure": pressure} if pressure else {})


def _io(text: str) -> list[Object]:
    devices = []
    for line in text.splitlines():
        device, *fields = line.split()
        values = dict(field.split("=", 1) for field in fields if "=" in field)
        devices.append({"device": device} | {name: int(values.get(key, 0)) for key, name in _IO.items()})
    return devices


def _pressure(text: str) -> Object:
    found: Object = {}
    for line in text.splitlines():
        kind, *fields = line.split()
        values = dict(field.split("=", 1) for field in fields)
        averages = {key: float(values[key]) for key in ("avg10", "avg60", "avg300")}
        found[kind] = averages | {"total_us": int(values["total"])}
    return found


def of_machine() -> Object:
    """The root cgroup, /proc/meminfo, and the network's counters."""
    memory = {
        key.removesuffix(":"): int(value) * 1024
        for key, value, *_ in (line.split() for line in read("/proc/meminfo").splitlines())
    }
    found = of_container(cgroups.TOP)
    found |= {
        "memory_total_bytes": memory_bytes(),
        "memory_available_bytes": memory["MemAvailable"],
        "memory_bytes": memory["MemTotal"] - memory["MemFree"],
        "pids": sum(entry.isdigit() for entry in os.listdir("/proc")),
        "network": [_interface(link) for link in sorted(os.listdir(_LINKS))],
    }
    return found


def _interface(link: str) -> Object:
    counters = {
        f"{way}_{what}": int(read(f"{_LINKS}/{link}/statistics/{way}_{what}") or 0)
        for way in ("rx", "tx") for what in _INTERFACE
    }  # fmt: skip
    return {"name": link} | counters


def processes(directory: str) -> list[Object]:
    """Those of a container, by the machine's pids."""
    found = []
    for pid in cgroups.processes(directory):
        status = dict(line.split(":\t", 1) for line in read(f"/proc/{pid}/status").splitlines() if ":\t" in line)
        if not status:
            continue
        command = read(f"/proc/{pid}/cmdline")[:_COMMAND_LIMIT].replace("\0", " ").strip()
        found.append({
            "pid": pid, "parent": int(status["PPid"]), "user": int(status["Uid"].split()[0]),
            "command": command or f"[{status['Name']}]",
        })  # fmt: skip
    return found
