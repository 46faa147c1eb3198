"""How big a pod is: what its containers may use together (resources), and what it costs beside them (overhead).

The kubelet tells both, and sizes the pod's cgroup by their sum. Where the client makes no cgroup it is ours, and is
sized here as the kubelet would; a pod's sandbox container hears both (`container/spec/annotations`).
"""

from __future__ import annotations

from podwright.cgroup.base import CgroupDriver, Limits
from podwright.criapi import api_pb2 as pb
from podwright.runtime.handlers import HandlerSettings
from podwright.sandbox.model import Sandbox

PERIOD_US = 100_000
_SHARES_A_CPU, _MIN_SHARES, _MAX_SHARES = 1024, 2, 262144
_UNLIMITED = -1


def handler_overhead(asked: pb.LinuxContainerResources, settings: HandlerSettings) -> pb.LinuxContainerResources | None:
    """What the configuration says of the handler, in the kubelet's terms; None where the request tells, or nobody."""
    memory, millicores = settings.overhead_memory_bytes, settings.overhead_cpu_millicores
    if asked != pb.LinuxContainerResources() or not (memory or millicores):
        return None
    overhead = pb.LinuxContainerResources(memory_limit_in_bytes=memory)
    if millicores:
        overhead.cpu_shares = max(_MIN_SHARES, millicores * _SHARES_A_CPU // 1000)
        overhead.cpu_period = PERIOD_US
        overhead.cpu_quota = millicores * PERIOD_US // 1000
    return overhead


def pod_limits(resources: pb.LinuxContainerResources, overhead: pb.LinuxContainerResources) -> Limits:
    """What a pod's cgroup is limited to. Without a limit for the containers there is none for the pod, and its overhead
    alone is none."""
    memory = quota = shares = None
    if resources.memory_limit_in_bytes > 0:
        memory = resources.memory_limit_in_bytes + overhead.memory_limit_in_bytes
    if resources.cpu_quota > 0:
        quota = _per_period(resources) + _per_period(overhead)
    if resources.cpu_shares > 0:
        shares = min(_MAX_SHARES, resources.cpu_shares + overhead.cpu_shares)
    period = PERIOD_US if quota else None
    return Limits(cpu_shares=shares, cpu_quota_us=quota, cpu_period_us=period, memory_bytes=memory)


def _per_period(given: pb.LinuxContainerResources) -> int:
    return max(0, given.cpu_quota) * PERIOD_US // (given.cpu_period or PERIOD_US)


def sized_by_client(cgroups: CgroupDriver, sandbox: Sandbox) -> bool:
    """Whether the pod's cgroup is not ours to size: the kubelet has made it, or it is a slice of systemd's."""
    return not cgroups.is_sized_by_maker(sandbox.record.cgroup_parent, sandbox.record.made_cgroups)


def resize_cgroup(
    cgroups: CgroupDriver, sandbox: Sandbox, resources: pb.LinuxContainerResources, overhead: pb.LinuxContainerResources
) -> None:
    """Size the pod's cgroup anew where it is ours. What the kernel refuses leaves it as it was.

    Raises InvalidArgument.
    """
    if sized_by_client(cgroups, sandbox):
        return
    path = cgroups.kernel_path(sandbox.record.cgroup_parent)
    before, wanted = pod_limits(sandbox.resources, sandbox.overhead), pod_limits(resources, overhead)
    if wanted == before:
        return
    try:
        cgroups.set_limits(path, _lifting(wanted, before))
    except BaseException:
        cgroups.set_limits(path, _lifting(before, wanted))
        raise


def _lifting(wanted: Limits, before: Limits) -> Limits:
    """`wanted`, with what was limited and is no more lifted."""
    lift_memory = wanted.memory_bytes is None and before.memory_bytes is not None
    lift_quota = wanted.cpu_quota_us is None and before.cpu_quota_us is not None
    return Limits(
        cpu_shares=wanted.cpu_shares,
        cpu_quota_us=_UNLIMITED if lift_quota else wanted.cpu_quota_us,
        cpu_period_us=wanted.cpu_period_us,
        memory_bytes=_UNLIMITED if lift_memory else wanted.memory_bytes,
    )
