"""Requests and limits as the kubelet puts them: shares, quota, limits, and the score for the OOM killer.

Kubernetes documentation, "Resource Management for Pods and Containers" and "Node-pressure Eviction"; the numbers are
those of pkg/kubelet/cm/helpers_linux.go and pkg/kubelet/qos/policy.go.
"""

from __future__ import annotations

from podwright.cli.manifest.facts import Host
from podwright.cli.manifest.model import Container, Pod
from podwright.criapi import api_pb2 as pb

_PERIOD_US = 100_000
_LEAST_QUOTA_US = 1000
_SHARES_A_CPU = 1024
_LEAST_SHARES = 2
_MOST_SHARES = 262144  # Documentation/admin-guide/cgroup-v1: kernel/sched MAX_SHARES

_GUARANTEED_SCORE = -997
_BEST_EFFORT_SCORE = 1000


def container_resources(pod: Pod, container: Container, host: Host) -> pb.LinuxContainerResources:
    """What one container gets."""
    requests, limits = container.resources.requests, container.resources.limits
    made = pb.LinuxContainerResources(
        cpu_shares=shares(requests.cpu_milli or 0),
        memory_limit_in_bytes=limits.memory_bytes or 0,
        oom_score_adj=oom_score(pod, container, host),
        hugepage_limits=[
            pb.HugepageLimit(page_size=page_size(size), limit=limit) for size, limit in limits.hugepages.items()
        ],
    )
    if limits.cpu_milli:
        made.cpu_period, made.cpu_quota = _PERIOD_US, quota(limits.cpu_milli)
    if host.unified_cgroups:
        # One process over the limit takes the container with it, as on a v2 node of Kubernetes.
        made.unified["memory.oom.group"] = "1"
        # Memory and swap together: no swap.
        made.memory_swap_limit_in_bytes = made.memory_limit_in_bytes
    return made


def pod_resources(pod: Pod) -> pb.LinuxContainerResources:
    """The sum over what runs at the same time; for runtimes that size a machine after it."""
    running = [c for c in pod.all_containers if c.sidecar or c in pod.containers]
    made = pb.LinuxContainerResources(cpu_shares=shares(sum(c.resources.requests.cpu_milli or 0 for c in running)))
    memory = [c.resources.limits.memory_bytes for c in running]
    cpu = [c.resources.limits.cpu_milli for c in running]
    if all(memory):
        made.memory_limit_in_bytes = sum(limit or 0 for limit in memory)
    if all(cpu):
        made.cpu_period, made.cpu_quota = _PERIOD_US, quota(sum(limit or 0 for limit in cpu))
    return made


def shares(milli: int) -> int:
    """CPU shares: 1024 for a whole CPU."""
    return min(max(milli * _SHARES_A_CPU // 1000, _LEAST_SHARES), _MOST_SHARES)


def quota(milli: int) -> int:
    """CPU time in microseconds of each period."""
    return max(milli * _PERIOD_US // 1000, _LEAST_QUOTA_US)


def qos(pod: Pod) -> str:
    """The pod's quality of service: Guaranteed, Burstable or BestEffort."""
    sets = [(c.resources.requests, c.resources.limits) for c in pod.all_containers]
    if not any(amount for both in sets for a in both for amount in (a.cpu_milli, a.memory_bytes)):
        return "BestEffort"
    for want, limit in sets:
        both = limit.cpu_milli and limit.memory_bytes
        if not both or (want.cpu_milli, want.memory_bytes) != (limit.cpu_milli, limit.memory_bytes):
            return "Burstable"
    return "Guaranteed"


def oom_score(pod: Pod, container: Container, host: Host) -> int:
    """oom_score_adj: the more memory a burstable container asked for, the later it is killed."""
    kind = qos(pod)
    if kind == "Guaranteed":
        return _GUARANTEED_SCORE
    if kind == "BestEffort":
        return _BEST_EFFORT_SCORE
    request = container.resources.requests.memory_bytes or 0
    score = 1000 - (1000 * request // host.memory_bytes if host.memory_bytes else 0)
    return min(max(score, 1000 + _GUARANTEED_SCORE), _BEST_EFFORT_SCORE - 1)


def page_size(text: str) -> str:
    """`2Mi` as the CRI writes it: `2MB`."""
    return text.removesuffix("i") + "B"
