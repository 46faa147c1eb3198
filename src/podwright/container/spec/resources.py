"""Limits: the CRI's LinuxContainerResources as the OCI's linux.resources. Zero means "not set" in the CRI.

Used at creation and for updates alike. Device rules are another concern (`devices.py`).
Limits that this kernel has no controller for are left out, as CRI-O and containerd do: the kubelet sends "no huge
pages" with every container, and a runtime would refuse to create it.
"""

from __future__ import annotations

import re

import msgspec

from podwright.base.errors import InvalidArgument
from podwright.container.spec.facts import HostFacts
from podwright.criapi import api_pb2 as pb
from podwright.oci.runtime_spec import Cpu, HugepageLimit, LinuxResources, Memory

_FIELD = "linux.resources"
_PAGE_SIZE = re.compile(r"[1-9][0-9]*(?:KB|MB|GB)\Z")
# A cgroup v2 file's name has a controller and no path in it.
_UNIFIED_KEY = re.compile(r"[a-z0-9_]+(?:\.[a-zA-Z0-9_-]+)+\Z")
_CPU_LIST = re.compile(r"[0-9,\s-]*\Z")
# What the kernel takes: kernel/sched/core.c, tg_set_cfs_bandwidth.
_MAX_QUOTA_US = (1 << 44) - 1

NO_QUOTA = -1


def linux_resources(given: pb.LinuxContainerResources, host: HostFacts) -> LinuxResources:
    """What is set, and nothing else. Raises InvalidArgument."""
    hugepages = _hugepages(given)
    return LinuxResources(
        memory=_memory(given, host), cpu=_cpu(given), hugepage_limits=hugepages if host.hugepage_limits else [],
        unified=_unified(given),
    )  # fmt: skip


def cri_resources(given: LinuxResources) -> pb.LinuxContainerResources:
    """The other way round, for limits that did not come in the CRI's words. Raises InvalidArgument for those that it
    has no word for: they can be given at creation only."""
    memory, cpu = given.memory or Memory(), given.cpu or Cpu()
    said = LinuxResources(
        memory=Memory(limit=memory.limit, swap=memory.swap), hugepage_limits=given.hugepage_limits,
        cpu=Cpu(shares=cpu.shares, quota=cpu.quota, period=cpu.period, cpus=cpu.cpus, mems=cpu.mems),
        unified=given.unified,
    )  # fmt: skip
    if msgspec.structs.replace(given, memory=memory, cpu=cpu) != said:
        raise InvalidArgument("only CPU, memory, swap, huge pages and cgroup v2 files can be updated", field=_FIELD)
    return pb.LinuxContainerResources(
        memory_limit_in_bytes=memory.limit or 0, memory_swap_limit_in_bytes=memory.swap or 0,
        cpu_shares=cpu.shares or 0, cpu_quota=cpu.quota or 0, cpu_period=cpu.period or 0, cpuset_cpus=cpu.cpus,
        cpuset_mems=cpu.mems, unified=given.unified,
        hugepage_limits=[pb.HugepageLimit(page_size=h.page_size, limit=h.limit) for h in given.hugepage_limits],
    )  # fmt: skip


def updated_resources(
    current: pb.LinuxContainerResources, change: pb.LinuxContainerResources
) -> pb.LinuxContainerResources:
    """`current` with what `change` sets. The score is a process's, not a limit: it stays as it was at creation.

    A memory limit that is changed alone keeps the amount of swap: a container without any gets none by it.
    """
    result = pb.LinuxContainerResources()
    result.CopyFrom(current)
    sizes = {limit.page_size for limit in change.hugepage_limits}
    kept = [limit for limit in current.hugepage_limits if limit.page_size not in sizes]
    del result.hugepage_limits[:]
    result.MergeFrom(change)
    del result.hugepage_limits[:]
    result.hugepage_limits.extend([*kept, *change.hugepage_limits])
    result.oom_score_adj = current.oom_score_adj
    memory_alone = change.memory_limit_in_bytes and not change.memory_swap_limit_in_bytes
    if memory_alone and current.memory_swap_limit_in_bytes > 0:
        swap = current.memory_swap_limit_in_bytes - current.memory_limit_in_bytes
        result.memory_swap_limit_in_bytes = change.memory_limit_in_bytes + swap
    return result


def _memory(given: pb.LinuxContainerResources, host: HostFacts) -> Memory | None:
    """`memory_swap_limit_in_bytes` is memory plus swap, as in OCI; equal to the limit means no swap."""
    limit, swap = given.memory_limit_in_bytes, given.memory_swap_limit_in_bytes
    if limit < 0 or swap < -1:
        raise InvalidArgument(f"memory limits can't be negative ({limit}, {swap})", field=_FIELD)
    if swap > 0 and limit > swap:
        raise InvalidArgument(f"memory plus swap ({swap}) is less than memory ({limit})", field=_FIELD)
    if swap > 0 and not limit:
        raise InvalidArgument("memory_swap_limit_in_bytes is given without memory_limit_in_bytes", field=_FIELD)
    if not host.swap_limits:
        swap = 0
    if not limit and not swap:
        return None
    return Memory(limit=limit or None, swap=swap or None)


def _cpu(given: pb.LinuxContainerResources) -> Cpu | None:
    if given.cpu_shares < 0 or given.cpu_period < 0 or given.cpu_quota < -1:
        raise InvalidArgument("cpu values can't be negative (a quota of -1 is: no limit)", field=_FIELD)
    for name, number, least, most in (
        ("cpu_period", given.cpu_period, 1000, 1_000_000), ("cpu_quota", given.cpu_quota, 1000, _MAX_QUOTA_US)
    ):  # fmt: skip
        if number > 0 and not least <= number <= most:
            raise InvalidArgument(f"{number} is not from {least} to {most} (microseconds)", field=f"{_FIELD}.{name}")
    for name, value in (("cpuset_cpus", given.cpuset_cpus), ("cpuset_mems", given.cpuset_mems)):
        if not _CPU_LIST.match(value):
            raise InvalidArgument(f"{value!r} is not a list like 0-3,7", field=f"{_FIELD}.{name}")
    cpu = Cpu(
        shares=given.cpu_shares or None, quota=given.cpu_quota or None, period=given.cpu_period or None,
        cpus=given.cpuset_cpus, mems=given.cpuset_mems,
    )  # fmt: skip
    return None if cpu == Cpu() else cpu


def _hugepages(given: pb.LinuxContainerResources) -> list[HugepageLimit]:
    for limit in given.hugepage_limits:
        if not _PAGE_SIZE.match(limit.page_size):
            raise InvalidArgument(f"{limit.page_size!r} is not a page size like 2MB", field=f"{_FIELD}.hugepage_limits")
    return [HugepageLimit(page_size=limit.page_size, limit=limit.limit) for limit in given.hugepage_limits]


def _unified(given: pb.LinuxContainerResources) -> dict[str, str]:
    """cgroup v2 files, verbatim; the runtime refuses them on v1."""
    for key, value in given.unified.items():
        if not _UNIFIED_KEY.match(key) or "\0" in value:
            raise InvalidArgument(f"{key!r} is not a file of a cgroup", field=f"{_FIELD}.unified")
    return dict(given.unified)
