"""linux.resources of the OCI runtime specification as files of a cgroup, for runtimes that are ours. Pure.

config-linux.md, "Control groups"; the rules of conversion from v1's numbers to v2's are runc's.
"""

from __future__ import annotations

from podwright.cgroup.v2 import weight_of
from podwright.oci.runtime_spec import Cpu, DeviceRule, LinuxResources, Memory

_UNLIMITED = -1
# config-linux.md, "Default Devices", with the terminals; any node may be made, but not used.
_DEFAULT_DEVICES = (
    "c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", "c 5:2 rwm",
    "c 136:* rwm",
)  # fmt: skip


def v1(resources: LinuxResources) -> dict[str, str]:
    """Contents by file. Memory with swap never is below memory alone: the order they can be written in depends."""
    found = dict[str, str]()
    if (memory := resources.memory) is not None:
        found |= _set({
            "memory.limit_in_bytes": memory.limit, "memory.memsw.limit_in_bytes": memory.swap,
            "memory.soft_limit_in_bytes": memory.reservation, "memory.swappiness": memory.swappiness,
            "memory.kmem.tcp.limit_in_bytes": memory.kernel_tcp,
        })  # fmt: skip
        if memory.disable_oom_killer:
            found["memory.oom_control"] = "1"
    if (cpu := resources.cpu) is not None:
        found |= _set({
            "cpu.shares": cpu.shares or None, "cpu.cfs_period_us": cpu.period or None,
            "cpu.cfs_quota_us": cpu.quota or None, "cpu.rt_period_us": cpu.realtime_period,
            "cpu.rt_runtime_us": cpu.realtime_runtime,
        })  # fmt: skip
        found |= _cpuset(cpu)
    if resources.pids is not None:
        found["pids.max"] = _or_max(resources.pids.limit, least=1)
    for limit in resources.hugepage_limits:
        found[f"hugetlb.{limit.page_size}.limit_in_bytes"] = str(limit.limit)
    return found


def v2(resources: LinuxResources) -> dict[str, str]:
    """Contents by file; `unified` as it is."""
    found = dict[str, str]()
    if (memory := resources.memory) is not None:
        found |= _memory_v2(memory)
    if (cpu := resources.cpu) is not None:
        if cpu.shares:
            found["cpu.weight"] = str(weight_of(cpu.shares))
        if cpu.quota or cpu.period:
            quota = _or_max(cpu.quota or _UNLIMITED, least=1)
            found["cpu.max"] = f"{quota} {cpu.period}" if cpu.period else quota
        found |= _cpuset(cpu)
    if resources.pids is not None:
        found["pids.max"] = _or_max(resources.pids.limit, least=1)
    for limit in resources.hugepage_limits:
        found[f"hugetlb.{limit.page_size}.max"] = str(limit.limit)
    return found | resources.unified


def _memory_v2(memory: Memory) -> dict[str, str]:
    """v2 counts swap alone."""
    found = dict[str, str]()
    if memory.limit is not None:
        found["memory.max"] = _or_max(memory.limit)
    if memory.reservation is not None:
        found["memory.low"] = _or_max(memory.reservation)
    if memory.swap is not None:
        alone = memory.swap - (memory.limit or 0) if memory.swap > 0 else memory.swap
        found["memory.swap.max"] = _or_max(max(alone, _UNLIMITED))
    return found


def devices_v1(rules: list[DeviceRule]) -> list[tuple[str, str]]:
    """Files and contents, in order: nothing, the devices that every container has, then the rules."""
    found = [("devices.deny", "a"), *(("devices.allow", rule) for rule in _DEFAULT_DEVICES)]
    for rule in rules:
        everything = rule.type in ("", "a") and rule.major is None and rule.minor is None
        if everything and not rule.allow:
            continue  # where every list begins, and what is the case
        numbers = ":".join("*" if number is None or number < 0 else str(number) for number in (rule.major, rule.minor))
        content = "a" if everything else f"{rule.type or 'a'} {numbers} {rule.access}"
        found.append(("devices.allow" if rule.allow else "devices.deny", content))
    return found


def _cpuset(cpu: Cpu) -> dict[str, str]:
    return {name: value for name, value in (("cpuset.cpus", cpu.cpus), ("cpuset.mems", cpu.mems)) if value}


def _set(wanted: dict[str, int | None]) -> dict[str, str]:
    return {name: str(value) for name, value in wanted.items() if value is not None}


def _or_max(value: int, *, least: int = 0) -> str:
    return "max" if value < least else str(value)
