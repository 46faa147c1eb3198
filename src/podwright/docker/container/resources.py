"""Limits in Docker's words, at creation and for updates. Zero means "not set" in the CRI and in Docker alike."""

from __future__ import annotations

from podwright.container.spec.facts import HostFacts
from podwright.container.spec.resources import linux_resources
from podwright.criapi import api_pb2 as pb
from podwright.oci.runtime_spec import Cpu, LinuxResources
from podwright.security.limits import clamp_oom_score_adj

_NO_SWAP_LIMIT = -1


def resource_body(given: pb.LinuxContainerResources, host: HostFacts) -> dict[str, object]:
    """Limits and the OOM score of a new container. Raises InvalidArgument. Huge pages are written when it runs."""
    score = clamp_oom_score_adj(given.oom_score_adj, host.oom_score_adj_min)
    return {**limits_body(linux_resources(given, host)), "OomScoreAdj": score}


def limits_body(resources: LinuxResources) -> dict[str, object]:
    """What is set. Memory alone would have Docker allow as much swap again: it is told that there is no such limit."""
    body: dict[str, object] = {}
    cpu, memory = resources.cpu or Cpu(), resources.memory
    for key, value in (
        ("CpuShares", cpu.shares), ("CpuQuota", cpu.quota), ("CpuPeriod", cpu.period),
        ("CpusetCpus", cpu.cpus), ("CpusetMems", cpu.mems),
    ):  # fmt: skip
        if value:
            body[key] = value
    if memory is not None and memory.limit:
        body["Memory"] = memory.limit
        body["MemorySwap"] = memory.swap or _NO_SWAP_LIMIT
    return body
