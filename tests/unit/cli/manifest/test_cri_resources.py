"""Requests and limits in the kernel's units, and the order in which the OOM killer goes about."""

import dataclasses
from typing import Any

import pytest

from podwright.cli.manifest.cri_resources import container_resources, pod_resources, qos, quota, shares
from podwright.cli.manifest.facts import Host
from podwright.criapi import api_pb2 as pb
from tests.unit.cli.manifest.pods import HOST, pod


def resources(amounts: dict[str, Any], host: Host = HOST) -> pb.LinuxContainerResources:
    made = pod(container={"resources": amounts})
    return container_resources(made, made.containers[0], host)


def test_nothing_said() -> None:
    assert resources({}) == pb.LinuxContainerResources(cpu_shares=2, oom_score_adj=1000)


def test_limits() -> None:
    made = resources({"limits": {"cpu": "250m", "memory": "64Mi", "hugepages-2Mi": "4Mi"}})
    assert made == pb.LinuxContainerResources(
        cpu_shares=256, cpu_period=100_000, cpu_quota=25_000, memory_limit_in_bytes=64 * 2**20, oom_score_adj=-997,
        hugepage_limits=[pb.HugepageLimit(page_size="2MB", limit=4 * 2**20)],
    )  # fmt: skip


def test_on_cgroup_v2_a_container_dies_as_a_whole_and_does_not_swap() -> None:
    made = resources({"limits": {"memory": "1Mi"}}, dataclasses.replace(HOST, unified_cgroups=True))
    assert dict(made.unified) == {"memory.oom.group": "1"}
    assert made.memory_swap_limit_in_bytes == 2**20


@pytest.mark.parametrize(("milli", "expected"), [(0, 2), (1, 2), (10, 10), (1000, 1024), (10**6, 262144)])
def test_shares(milli: int, expected: int) -> None:
    assert shares(milli) == expected


@pytest.mark.parametrize(("milli", "expected"), [(1, 1000), (10, 1000), (15, 1500), (1000, 100_000)])
def test_quota(milli: int, expected: int) -> None:
    assert quota(milli) == expected


@pytest.mark.parametrize(
    ("amounts", "kind", "score"),
    [
        ({}, "BestEffort", 1000),
        ({"limits": {"cpu": 1, "memory": "1Gi"}}, "Guaranteed", -997),
        ({"limits": {"cpu": 1, "memory": "1Gi"}, "requests": {"cpu": "500m"}}, "Burstable", 875),
        ({"limits": {"memory": "1Gi"}}, "Burstable", 875),
        ({"requests": {"cpu": 1}}, "Burstable", 999),
        ({"requests": {"memory": "8Gi"}}, "Burstable", 3),
    ],
)
def test_quality_of_service(amounts: dict[str, Any], kind: str, score: int) -> None:
    made = pod(container={"resources": amounts})
    assert qos(made) == kind
    assert container_resources(made, made.containers[0], HOST).oom_score_adj == score


def test_the_sum_counts_what_runs_together() -> None:
    limits = {"resources": {"limits": {"cpu": "500m", "memory": "1Mi"}}}
    inits = [
        {"name": "once", "image": "x:1", **limits},
        {"name": "side", "image": "x:1", "restartPolicy": "Always", **limits},
    ]
    assert pod_resources(pod({"initContainers": inits}, limits)) == pb.LinuxContainerResources(
        cpu_shares=1024, cpu_period=100_000, cpu_quota=100_000, memory_limit_in_bytes=2 * 2**20
    )
    assert pod_resources(pod({"initContainers": inits})).memory_limit_in_bytes == 0
