"""Readings as messages: what the kernel doesn't tell is left out, and never 0."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from podwright.cgroup.base import CgroupStats, CpuStats, MemoryStats, Pressure, PressureStats, SwapStats
from podwright.container.disk import DiskUsage
from podwright.container.model import Container
from podwright.container.stats import ContainerStats
from podwright.cri.render_stats import container_stats, pod_stats
from podwright.criapi import api_pb2 as pb
from podwright.network.counters import InterfaceCounters
from podwright.sandbox.model import Sandbox
from podwright.sandbox.stats import PodStats
from tests.support.records import container_record, sandbox_record

CONTAINER = Container(container_record("c", "pod", labels={"a": "b"}, created_at=1, started_at=2))
POD = Sandbox(sandbox_record("pod", ready_at=5))
PRESSURE = PressureStats(Pressure(1.5, 0.25, 0.125, 12), Pressure(0.5, 0.0, 0.0, 7))
FULL = CgroupStats(
    99, CpuStats(5000, PRESSURE),
    MemoryStats(
        100, 70, 50, page_faults=8, major_page_faults=2, limit_bytes=200, swap=SwapStats(3, 10), pressure=PRESSURE
    ),
    PRESSURE,
)  # fmt: skip


def of_container(usage: CgroupStats, *, rate: int | None = None, disk: DiskUsage | None = None) -> pb.ContainerStats:
    return container_stats(ContainerStats(CONTAINER, usage, rate, "/var/lib/podwright/snapshots", disk))


def of_pod(network: Sequence[InterfaceCounters] | None, usage: CgroupStats = FULL) -> pb.LinuxPodSandboxStats:
    return pod_stats(PodStats(POD, usage, None, 4, network, [])).linux


def interface(name: str) -> InterfaceCounters:
    return InterfaceCounters(name, 1, 2, 3, 4, 5, 6, 7, 8)


def test_all_that_there_may_be() -> None:
    message = of_container(FULL, rate=42, disk=DiskUsage(98, 4096, 5))
    assert dict(message.attributes.labels) == {"a": "b"}
    assert (message.cpu.timestamp, message.cpu.usage_core_nano_seconds.value) == (99, 5000)
    assert message.cpu.usage_nano_cores.value == 42
    memory = message.memory
    assert (memory.usage_bytes.value, memory.working_set_bytes.value, memory.rss_bytes.value) == (100, 70, 50)
    assert (memory.available_bytes.value, memory.page_faults.value, memory.major_page_faults.value) == (130, 8, 2)
    assert (message.swap.swap_usage_bytes.value, message.swap.swap_available_bytes.value) == (3, 7)
    assert (message.writable_layer.timestamp, message.writable_layer.used_bytes.value) == (98, 4096)
    assert message.writable_layer.fs_id.mountpoint == "/var/lib/podwright/snapshots"
    for psi in (message.cpu.psi, memory.psi, message.io.psi):
        assert psi.Some == pb.PsiData(Total=12, Avg10=1.5, Avg60=0.25, Avg300=0.125)
        assert psi.Full == pb.PsiData(Total=7, Avg10=0.5)


def test_what_is_not_known_is_left_out() -> None:
    message = of_container(CgroupStats(99, CpuStats(5), MemoryStats(100, 70, 50)))
    assert not message.cpu.HasField("usage_nano_cores")
    assert not message.cpu.HasField("psi")
    assert not message.memory.HasField("available_bytes")
    assert not any(message.HasField(field) for field in ("swap", "io", "writable_layer"))


def test_a_cgroup_without_controllers_has_its_timestamps() -> None:
    """critest wants timestamps of CPU and memory, whatever there is to tell; what there isn't is not 0."""
    message = of_container(CgroupStats(99))
    assert not message.cpu.HasField("usage_core_nano_seconds")
    assert not message.memory.HasField("usage_bytes")
    assert (message.cpu.timestamp, message.memory.timestamp) == (99, 99)


def test_pressure_without_a_full_line() -> None:
    psi = of_container(CgroupStats(99, CpuStats(5, PressureStats(PRESSURE.some)))).cpu.psi
    assert psi.Some.Total == 12
    assert not psi.HasField("Full")


@pytest.mark.parametrize(
    ("names", "default", "others"),
    [
        (["eth0"], "eth0", []),
        (["net1", "eth0", "net2"], "eth0", ["net1", "net2"]),
        (["ens5", "net1"], "ens5", ["net1"]),
        ([], "", []),
    ],
)
def test_the_default_interface_is_apart(names: list[str], default: str, others: list[str]) -> None:
    network = of_pod([interface(name) for name in names]).network
    assert network.timestamp == 99
    assert network.default_interface.name == default
    assert network.HasField("default_interface") == bool(names)
    assert [each.name for each in network.interfaces] == others


def test_a_pod() -> None:
    linux = of_pod([interface("eth0")])
    default = linux.network.default_interface
    assert (default.rx_bytes.value, default.rx_errors.value) == (1, 3)
    assert (default.tx_bytes.value, default.tx_errors.value) == (5, 7)
    assert (linux.process.timestamp, linux.process.process_count.value) == (99, 4)
    assert linux.io.psi.Some.Total == 12
    assert not of_pod(None).HasField("network")
