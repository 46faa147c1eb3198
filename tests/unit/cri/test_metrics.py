"""Metrics by cAdvisor's names: all that critest looks for, with values, on every layout of cgroups."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from podwright.cgroup import details
from podwright.cgroup.base import CgroupStats
from podwright.cgroup.details import CgroupDetails
from podwright.cgroup.v1 import CgroupV1
from podwright.cgroup.v2 import CgroupV2
from podwright.container.disk import DiskUsage
from podwright.container.metrics import ContainerMetrics, KernelMetrics
from podwright.container.model import Container
from podwright.cri.metrics import LABELS, descriptors, pod_metrics
from podwright.criapi import api_pb2 as pb
from podwright.linux.filesystem import FileSystem
from podwright.linux.open_files import OpenFiles
from podwright.network.counters import InterfaceCounters
from podwright.sandbox.metrics import PodMetrics
from podwright.sandbox.model import Sandbox
from tests.support.records import container_record, sandbox_record
from tests.unit.cgroup import trees

# critest v1.36, pkg/validate/pod.go; all in `container_`.
EXPECTED = """
blkio_device_usage_total cpu_cfs_periods_total cpu_cfs_throttled_periods_total cpu_cfs_throttled_seconds_total
cpu_system_seconds_total cpu_usage_seconds_total cpu_user_seconds_total file_descriptors fs_inodes_free fs_inodes_total
fs_limit_bytes fs_reads_bytes_total fs_reads_total fs_usage_bytes fs_writes_bytes_total fs_writes_total
hugetlb_max_usage_bytes hugetlb_usage_bytes last_seen memory_cache memory_failcnt memory_failures_total
memory_kernel_usage memory_mapped_file memory_max_usage_bytes memory_rss memory_swap memory_usage_bytes
memory_working_set_bytes network_receive_bytes_total network_receive_errors_total
network_receive_packets_dropped_total network_receive_packets_total network_transmit_bytes_total
network_transmit_errors_total network_transmit_packets_dropped_total network_transmit_packets_total oom_events_total
pressure_cpu_stalled_seconds_total pressure_cpu_waiting_seconds_total pressure_io_stalled_seconds_total
pressure_io_waiting_seconds_total pressure_memory_stalled_seconds_total pressure_memory_waiting_seconds_total processes
sockets spec_cpu_period spec_cpu_quota spec_cpu_shares spec_memory_limit_bytes spec_memory_reservation_limit_bytes
spec_memory_swap_limit_bytes start_time_seconds threads threads_max ulimits_soft
"""
NAMES = {f"container_{name}" for name in EXPECTED.split()}
S = 1_000_000_000


def v1(root: Path) -> tuple[CgroupStats | None, CgroupDetails]:
    kernel = CgroupV1(trees.detailed_v1(root, "/pod/c"))
    return kernel.stats("/pod/c"), kernel.details("/pod/c")


def hybrid(root: Path) -> tuple[CgroupStats | None, CgroupDetails]:
    pressures = {f"{name}__pressure": trees.PRESSURE for name in ("cpu", "memory", "io")}
    trees.write(root / "unified/pod/c", cgroup__events="populated 1\nfrozen 0\n", **pressures)
    kernel = CgroupV1(trees.detailed_v1(root, "/pod/c"), f"{root}/unified")
    return kernel.stats("/pod/c"), kernel.details("/pod/c")


def v2(root: Path) -> tuple[CgroupStats | None, CgroupDetails]:
    kernel = CgroupV2(trees.detailed_v2(root, "/pod/c"))
    return kernel.stats("/pod/c"), kernel.details("/pod/c")


@pytest.fixture(autouse=True)
def _huge_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(details, "page_sizes", lambda: ("2MB",))


def reading(usage: CgroupStats | None, more: CgroupDetails, *, disk: DiskUsage | None) -> PodMetrics:
    assert usage is not None
    container = Container(container_record("c", "pod", cgroup="/pod/c", created_at=1, started_at=7 * S))
    kernel = KernelMetrics(
        cgroup=usage, details=more, processes=2, threads=5, open_files=OpenFiles(11, 3), open_files_limit=1024,
        file_system=FileSystem("/dev/vda1", 10**9, 1000, 400), devices={(8, 0): "/dev/sda"},
    )  # fmt: skip
    return PodMetrics(
        Sandbox(sandbox_record("pod", ready_at=5)), "/pod", [InterfaceCounters("eth0", 1, 2, 3, 4, 5, 6, 7, 8)],
        [ContainerMetrics(container, kernel, disk)],
    )  # fmt: skip


def by_name(message: pb.PodSandboxMetrics) -> dict[str, list[pb.Metric]]:
    found: dict[str, list[pb.Metric]] = {}
    for metric in [*message.metrics, *(m for each in message.container_metrics for m in each.metrics)]:
        found.setdefault(metric.name, []).append(metric)
    return found


def test_every_name_is_described_once() -> None:
    described = [descriptor.name for descriptor in descriptors()]
    assert len(described) == len(set(described))
    assert set(described) == NAMES
    assert all(descriptor.help.endswith(".") for descriptor in descriptors())


@pytest.mark.parametrize(
    ("layout", "missing"),
    [
        (v1, {name for name in NAMES if "pressure" in name}),
        (hybrid, set()),
        (v2, {"container_hugetlb_max_usage_bytes"}),
    ],
)
def test_every_name_has_values(
    tmp_path: Path, layout: Callable[[Path], tuple[CgroupStats | None, CgroupDetails]], missing: set[str]
) -> None:
    """But for what a kernel doesn't keep: pressure without a v2 hierarchy, the peak of huge pages on v2."""
    found = by_name(pod_metrics(reading(*layout(tmp_path), disk=DiskUsage(1, 4096, 5))))
    assert NAMES - found.keys() == missing
    keys = {descriptor.name: descriptor.label_keys for descriptor in descriptors()}
    for name, metrics in found.items():
        assert all(len(metric.label_values) == len(keys[name]) for metric in metrics), name
        assert all(metric.timestamp == 0 for metric in metrics)


def test_values_and_labels(tmp_path: Path) -> None:
    message = pod_metrics(reading(*v2(tmp_path), disk=DiskUsage(1, 4096, 5)))
    assert message.pod_sandbox_id == "pod"
    assert message.container_metrics[0].container_id == "c"
    found = by_name(message)

    def samples(name: str) -> list[tuple[tuple[str, ...], int]]:
        return [(tuple(m.label_values)[len(LABELS) :], m.value.value) for m in found[f"container_{name}"]]

    assert tuple(found["container_threads"][0].label_values) == ("/pod/c", "c", "", "ns", "pod", "c")
    assert tuple(message.metrics[0].label_values) == ("/pod", "pod", "", "ns", "pod", "", "eth0")
    assert samples("start_time_seconds") == [((), 7)]
    assert samples("cpu_usage_seconds_total") == [(("total",), 0)]
    assert samples("memory_working_set_bytes") == [((), 70000)]
    assert samples("memory_swap") == [((), 2048)]
    assert samples("memory_failures_total") == [
        (("pgfault", "container"), 77), (("pgfault", "hierarchy"), 77),
        (("pgmajfault", "container"), 7), (("pgmajfault", "hierarchy"), 7),
    ]  # fmt: skip
    assert samples("oom_events_total") == [((), 4)]
    assert samples("fs_usage_bytes") == [(("/dev/vda1",), 4096)]
    assert samples("fs_inodes_free") == [(("/dev/vda1",), 400)]
    assert samples("fs_writes_total") == [(("/dev/sda",), 5)]
    assert samples("blkio_device_usage_total") == [
        (("/dev/sda", "8", "0", "Read"), 4096), (("/dev/sda", "8", "0", "Write"), 8192),
    ]  # fmt: skip
    assert samples("hugetlb_usage_bytes") == [(("2MB",), 2 << 20)]
    assert (samples("processes"), samples("threads"), samples("threads_max")) == ([((), 2)], [((), 5)], [((), 100)])
    assert (samples("file_descriptors"), samples("sockets")) == ([((), 11)], [((), 3)])
    assert samples("ulimits_soft") == [(("max_open_files",), 1024)]
    assert samples("spec_cpu_quota") == [((), 20000)]
    assert samples("spec_memory_limit_bytes") == [((), 64 << 20)]
    assert samples("network_receive_packets_dropped_total") == [(("eth0",), 4)]
    assert samples("network_transmit_bytes_total") == [(("eth0",), 5)]
    assert {m.metric_type for m in found["container_oom_events_total"]} == {pb.COUNTER}
    assert {m.metric_type for m in found["container_memory_rss"]} == {pb.GAUGE}


def test_what_is_not_known_has_no_sample(tmp_path: Path) -> None:
    unlimited = CgroupV2(trees.detailed_v2(tmp_path, "/c", cpu__max="max 100000"))
    found = by_name(pod_metrics(reading(unlimited.stats("/c"), unlimited.details("/c"), disk=None)))
    assert "container_fs_usage_bytes" not in found
    assert "container_spec_cpu_quota" not in found
    assert not any(name.startswith("container_cpu_cfs") for name in found)


def test_a_kernel_that_remembers_no_peak(tmp_path: Path) -> None:
    kernel = CgroupV2(trees.detailed_v2(tmp_path, "/c"))
    (tmp_path / "c/memory.peak").unlink()
    (sample,) = by_name(pod_metrics(reading(kernel.stats("/c"), kernel.details("/c"), disk=None)))[
        "container_memory_max_usage_bytes"
    ]
    assert sample.value.value == 100000
