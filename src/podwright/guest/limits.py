"""Limits of the OCI specification as files of cgroup version 2. Pure.

OCI runtime specification, config-linux.md, "Control groups"; kernel: admin-guide/cgroup-v2.rst; the formula for shares
is that of the runtimes: https://github.com/containers/crun/blob/main/crun.1.md, "CGROUP V2".
"""

from __future__ import annotations

from podwright.guest.failures import UNSUPPORTED, Failure
from podwright.guest.fields import Object, get, objects

_SHARES_MIN, _SHARES_MAX, _WEIGHT_MAX = 2, 262144, 10000
_DEFAULT_PERIOD_US = 100_000
_BLOCK = ("weightDevice", "throttleReadBpsDevice", "throttleWriteBpsDevice", "throttleReadIOPSDevice",
          "throttleWriteIOPSDevice")  # fmt: skip


def files(resources: Object, within: str = "resources.") -> dict[str, str]:
    """Contents by file name, in the order in which they are to be written. Raises Failure."""
    block = get(resources, "blockIO", dict, {}, within=within)
    for key in _BLOCK:
        if block.get(key):
            raise Failure(UNSUPPORTED, f"{within}blockIO.{key}: devices of the host are not the machine's")
    return {
        **_memory(get(resources, "memory", dict, {}, within=within), f"{within}memory."),
        **_cpu(get(resources, "cpu", dict, {}, within=within), f"{within}cpu."),
        **_pids(get(resources, "pids", dict, {}, within=within), f"{within}pids."),
        **_huge_pages(objects(resources, "hugepageLimits", within=within)),
        **{key: str(value) for key, value in get(resources, "unified", dict, {}, within=within).items()},
    }


def _memory(memory: Object, within: str) -> dict[str, str]:
    made = {}
    limit, both = get(memory, "limit", int, 0, within=within), get(memory, "swap", int, 0, within=within)
    if both:
        # The specification counts memory and swap together.
        made["memory.swap.max"] = "max" if both < 0 else str(max(0, both - max(limit, 0)))
    if limit:
        made["memory.max"] = _or_max(limit)
    if reservation := get(memory, "reservation", int, 0, within=within):
        made["memory.low"] = _or_max(reservation)
    return made


def _cpu(cpu: Object, within: str) -> dict[str, str]:
    made = {}
    if shares := get(cpu, "shares", int, 0, within=within):
        shares = min(max(shares, _SHARES_MIN), _SHARES_MAX)
        weight = 1 + (shares - _SHARES_MIN) * (_WEIGHT_MAX - 1) // (_SHARES_MAX - _SHARES_MIN)
        made["cpu.weight"] = str(weight)
    quota, period = get(cpu, "quota", int, 0, within=within), get(cpu, "period", int, 0, within=within)
    if quota or period:
        made["cpu.max"] = f"{quota if quota > 0 else 'max'} {period or _DEFAULT_PERIOD_US}"
    if burst := get(cpu, "burst", int, 0, within=within):
        made["cpu.max.burst"] = str(burst)
    if cpu.get("idle") is not None:
        made["cpu.idle"] = str(get(cpu, "idle", int, within=within))
    for key, name in (("cpus", "cpuset.cpus"), ("mems", "cpuset.mems")):
        if text := get(cpu, key, str, "", within=within):
            made[name] = text
    return made


def _pids(pids: Object, within: str) -> dict[str, str]:
    limit = get(pids, "limit", int, 0, within=within)
    return {"pids.max": _or_max(limit)} if limit else {}


def _huge_pages(limits: list[Object]) -> dict[str, str]:
    return {f"hugetlb.{get(limit, 'pageSize', str)}.max": str(get(limit, "limit", int)) for limit in limits}


def _or_max(value: int) -> str:
    return "max" if value < 0 else str(value)
