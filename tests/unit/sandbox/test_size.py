"""A pod's cgroup as the kubelet would size it."""

from __future__ import annotations

import pytest

from podwright.cgroup.base import Limits
from podwright.criapi import api_pb2 as pb
from podwright.runtime.handlers import HandlerSettings
from podwright.sandbox.size import handler_overhead, pod_limits

NOTHING = pb.LinuxContainerResources()


def resources(**given: int) -> pb.LinuxContainerResources:
    return pb.LinuxContainerResources(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("own", "overhead", "limits"),
    [
        (NOTHING, NOTHING, Limits()),
        (NOTHING, resources(memory_limit_in_bytes=5, cpu_quota=1000, cpu_shares=2), Limits()),
        (resources(memory_limit_in_bytes=10), resources(memory_limit_in_bytes=5), Limits(memory_bytes=15)),
        (resources(cpu_shares=262144), resources(cpu_shares=100), Limits(cpu_shares=262144)),
        (
            resources(cpu_quota=10000, cpu_period=50000), resources(cpu_quota=5000),
            Limits(cpu_quota_us=25000, cpu_period_us=100000),
        ),
        (resources(cpu_quota=-1, cpu_period=100000), resources(cpu_quota=5000, cpu_period=100000), Limits()),
    ],
)  # fmt: skip
def test_limits(own: pb.LinuxContainerResources, overhead: pb.LinuxContainerResources, limits: Limits) -> None:
    assert pod_limits(own, overhead) == limits


def test_a_handlers_overhead_counts_where_the_client_tells_none() -> None:
    settings = HandlerSettings(overhead_memory_bytes=1 << 20, overhead_cpu_millicores=250)
    assert handler_overhead(NOTHING, settings) == resources(
        memory_limit_in_bytes=1 << 20, cpu_quota=25000, cpu_period=100000, cpu_shares=256
    )
    assert handler_overhead(resources(cpu_shares=2), settings) is None
    assert handler_overhead(NOTHING, HandlerSettings()) is None
    assert handler_overhead(NOTHING, HandlerSettings(overhead_cpu_millicores=1)) == resources(
        cpu_quota=100, cpu_period=100000, cpu_shares=2
    )
