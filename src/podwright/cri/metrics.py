"""The metrics of ListPodSandboxMetrics: names, labels and meanings are cAdvisor's, which dashboards and alerts know.

One declaration a metric makes its descriptor and its samples, so that label keys and values can't differ in number
or order. What the kernel doesn't tell has no sample. Values are whole numbers by the CRI, seconds too. Samples have
no timestamp: they are of now.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from podwright.cgroup.base import MemoryStats, PressureStats
from podwright.cgroup.details import CpuTimes, DeviceIo, LimitsInForce
from podwright.container.disk import DiskUsage
from podwright.container.metrics import ContainerMetrics, KernelMetrics
from podwright.cri.render import user_image
from podwright.criapi import api_pb2 as pb
from podwright.network.counters import InterfaceCounters
from podwright.sandbox.metrics import PodMetrics

LABELS = ("id", "name", "image", "namespace", "pod", "container")
"""`id` is the cgroup, `name` the id of the container or pod, as the kubelet labels cAdvisor's."""

S = TypeVar("S")
Samples = Iterable[tuple[tuple[str, ...], int]]


@dataclass(frozen=True)
class Metric(Generic[S]):
    """A metric of things of kind S. `read` gives the values of the labels `extra`, and the number, of each sample."""

    name: str
    help: str
    kind: pb.MetricType.ValueType
    read: Callable[[S], Samples]
    extra: tuple[str, ...] = ()

    def descriptor(self) -> pb.MetricDescriptor:
        return pb.MetricDescriptor(name=self.name, help=self.help, label_keys=(*LABELS, *self.extra))

    def samples(self, source: S, labels: tuple[str, ...]) -> Iterator[pb.Metric]:
        for values, number in self.read(source):
            yield pb.Metric(
                name=self.name, metric_type=self.kind, label_values=(*labels, *values),
                value=pb.UInt64Value(value=number),
            )  # fmt: skip


def _plain(
    kind: pb.MetricType.ValueType, name: str, text: str, number: Callable[[ContainerMetrics], int | None]
) -> Metric[ContainerMetrics]:
    """A metric without labels of its own. None: no sample."""

    def read(source: ContainerMetrics) -> Samples:
        value = number(source)
        return [] if value is None else [((), value)]

    return Metric(name, text, kind, read)


def _cpu_usage(source: ContainerMetrics) -> Samples:
    return [] if source.cpu is None else [(("total",), _seconds(source.cpu.usage_ns))]


def _cpu(name: str, text: str, number: Callable[[CpuTimes], int], *, limited: bool = False) -> Metric[ContainerMetrics]:
    """A counter of CPU time. `limited`: only of containers that have a quota."""

    def read(source: ContainerMetrics) -> int | None:
        details = source.kernel.details
        return None if details.cpu is None or (limited and not details.limits.cpu_quota_us) else number(details.cpu)

    return _plain(pb.COUNTER, f"container_cpu_{name}", text, read)


def _memory(name: str, text: str, number: Callable[[MemoryStats], int]) -> Metric[ContainerMetrics]:
    return _plain(pb.GAUGE, f"container_memory_{name}", text, lambda m: None if m.memory is None else number(m.memory))


def _limit(name: str, text: str, number: Callable[[LimitsInForce], int | None]) -> Metric[ContainerMetrics]:
    return _plain(pb.GAUGE, f"container_spec_{name}", text, lambda m: number(m.kernel.details.limits))


def _process(name: str, text: str, number: Callable[[KernelMetrics], int]) -> Metric[ContainerMetrics]:
    return _plain(pb.GAUGE, f"container_{name}", text, lambda m: number(m.kernel))


def _pressure(
    resource: str, read: Callable[[ContainerMetrics], PressureStats | None]
) -> Iterator[Metric[ContainerMetrics]]:
    """Two counters: time that some tasks waited, time that none got on."""

    def some(source: ContainerMetrics) -> int | None:
        stats = read(source)
        return None if stats is None else stats.some.total_us // 1_000_000

    def full(source: ContainerMetrics) -> int | None:
        stats = read(source)
        return None if stats is None or stats.full is None else stats.full.total_us // 1_000_000

    prefix, of = f"container_pressure_{resource}", {"cpu": "CPU time", "io": "I/O", "memory": "memory"}[resource]
    yield _plain(pb.COUNTER, f"{prefix}_waiting_seconds_total", f"Seconds in which some tasks waited for {of}.", some)
    yield _plain(pb.COUNTER, f"{prefix}_stalled_seconds_total", f"Seconds in which all tasks waited for {of}.", full)


def _on_disk(name: str, text: str, number: Callable[[ContainerMetrics], int | None]) -> Metric[ContainerMetrics]:
    """Of the file system with the container's writable layer."""

    def read(source: ContainerMetrics) -> Samples:
        value = number(source)
        return [] if value is None else [((source.kernel.file_system.device,), value)]

    return Metric(f"container_fs_{name}", text, pb.GAUGE, read, ("device",))


def _device(source: ContainerMetrics, io: DeviceIo) -> str:
    return source.kernel.devices.get((io.major, io.minor), f"{io.major}:{io.minor}")


def _device_io(name: str, text: str, number: Callable[[DeviceIo], int]) -> Metric[ContainerMetrics]:
    def read(source: ContainerMetrics) -> Samples:
        return [((_device(source, io),), number(io)) for io in source.kernel.details.io]

    return Metric(f"container_fs_{name}", text, pb.COUNTER, read, ("device",))


def _device_usage(source: ContainerMetrics) -> Samples:
    for io in source.kernel.details.io:
        device = (_device(source, io), str(io.major), str(io.minor))
        yield (*device, "Read"), io.read_bytes
        yield (*device, "Write"), io.written_bytes


def _page_faults(source: ContainerMetrics) -> Samples:
    memory, details = source.memory, source.kernel.details
    if memory is None:
        return
    yield ("pgfault", "container"), memory.page_faults if details.own_page_faults is None else details.own_page_faults
    yield ("pgfault", "hierarchy"), memory.page_faults
    own = details.own_major_page_faults
    yield ("pgmajfault", "container"), memory.major_page_faults if own is None else own
    yield ("pgmajfault", "hierarchy"), memory.major_page_faults


def _huge_pages(source: ContainerMetrics) -> Samples:
    return [((pages.page_size,), pages.usage_bytes) for pages in source.kernel.details.huge_pages]


def _huge_pages_peak(source: ContainerMetrics) -> Samples:
    pages = source.kernel.details.huge_pages
    return [((each.page_size,), each.peak_bytes) for each in pages if each.peak_bytes is not None]


def _soft_limits(source: ContainerMetrics) -> Samples:
    limit = source.kernel.open_files_limit
    return [] if limit is None else [(("max_open_files",), limit)]


def _peak(source: ContainerMetrics) -> int | None:
    """v2 remembers it since Linux 5.19; before, all that is known is that it was as much as now."""
    now = source.memory.usage_bytes if source.memory else None
    peak = source.kernel.details.memory_peak_bytes
    return now if peak is None else peak


def _used(disk: DiskUsage | None) -> int | None:
    return None if disk is None else disk.bytes


def _seconds(nanoseconds: int) -> int:
    return nanoseconds // 1_000_000_000


CONTAINER: tuple[Metric[ContainerMetrics], ...] = (
    _plain(pb.GAUGE, "container_last_seen", "When the container was last seen, in seconds since the epoch.",
           lambda _: int(time.time())),
    _plain(pb.GAUGE, "container_start_time_seconds", "When the container started, in seconds since the epoch.",
           lambda m: _seconds(m.container.record.started_at)),
    _plain(pb.COUNTER, "container_oom_events_total", "Processes of the container that were killed for want of memory.",
           lambda m: m.kernel.details.oom_kills),
    Metric("container_cpu_usage_seconds_total", "CPU time used, in seconds.", pb.COUNTER, _cpu_usage, ("cpu",)),
    _cpu("user_seconds_total", "CPU time used in user mode, in seconds.", lambda c: _seconds(c.user_ns)),
    _cpu("system_seconds_total", "CPU time used in the kernel, in seconds.", lambda c: _seconds(c.system_ns)),
    _cpu("cfs_periods_total", "Periods of the CPU quota that have passed.", lambda c: c.periods, limited=True),
    _cpu("cfs_throttled_periods_total", "Periods in which the quota was used up.",
         lambda c: c.throttled_periods, limited=True),
    _cpu("cfs_throttled_seconds_total", "Time for which the quota was used up, in seconds.",
         lambda c: _seconds(c.throttled_ns), limited=True),
    _memory("usage_bytes", "Memory in use, page cache included, in bytes.", lambda m: m.usage_bytes),
    _memory("working_set_bytes", "Memory in use less inactive page cache, in bytes.", lambda m: m.working_set_bytes),
    _memory("rss", "Anonymous memory, in bytes.", lambda m: m.rss_bytes),
    _memory("cache", "Page cache, in bytes.", lambda m: m.cache_bytes),
    _memory("mapped_file", "Files mapped into memory, in bytes.", lambda m: m.mapped_file_bytes),
    _plain(pb.GAUGE, "container_memory_max_usage_bytes", "The most memory that was in use, in bytes.", _peak),
    _plain(pb.COUNTER, "container_memory_failcnt", "How often the memory limit was reached.",
           lambda m: m.kernel.details.memory_failures),
    _memory("swap", "Swap in use, in bytes.", lambda m: m.swap.usage_bytes if m.swap else 0),
    _plain(pb.GAUGE, "container_memory_kernel_usage", "Memory of the kernel's for the container, in bytes.",
           lambda m: m.kernel.details.kernel_memory_bytes),
    Metric("container_memory_failures_total", "Page faults, with and without reading from disk.", pb.COUNTER,
           _page_faults, ("failure_type", "scope")),
    Metric("container_hugetlb_usage_bytes", "Huge pages in use, in bytes.", pb.GAUGE, _huge_pages, ("pagesize",)),
    Metric("container_hugetlb_max_usage_bytes", "The most huge pages that were in use, in bytes.", pb.GAUGE,
           _huge_pages_peak, ("pagesize",)),
    _on_disk("usage_bytes", "Bytes that the writable layer takes.", lambda m: _used(m.disk)),
    _on_disk("limit_bytes", "Size of the file system with the writable layer, in bytes.",
             lambda m: m.kernel.file_system.size_bytes),
    _on_disk("inodes_total", "Inodes of the file system with the writable layer.",
             lambda m: m.kernel.file_system.inodes),
    _on_disk("inodes_free", "Free inodes of the file system with the writable layer.",
             lambda m: m.kernel.file_system.inodes_free),
    _device_io("reads_bytes_total", "Bytes read from the device.", lambda io: io.read_bytes),
    _device_io("reads_total", "Reads from the device.", lambda io: io.reads),
    _device_io("writes_bytes_total", "Bytes written to the device.", lambda io: io.written_bytes),
    _device_io("writes_total", "Writes to the device.", lambda io: io.writes),
    Metric("container_blkio_device_usage_total", "Bytes read from and written to the device.", pb.COUNTER,
           _device_usage, ("device", "major", "minor", "operation")),
    *_pressure("cpu", lambda m: m.cpu.pressure if m.cpu else None),
    *_pressure("io", lambda m: m.kernel.cgroup.io_pressure),
    *_pressure("memory", lambda m: m.memory.pressure if m.memory else None),
    _process("processes", "Processes in the container.", lambda k: k.processes),
    _process("threads", "Threads in the container.", lambda k: k.threads),
    _process("threads_max", "Threads that the container may have; 0: no limit.",
             lambda k: k.details.tasks.limit if k.details.tasks else 0),
    _process("file_descriptors", "Open file descriptors of the container.", lambda k: k.open_files.descriptors),
    _process("sockets", "Open sockets of the container.", lambda k: k.open_files.sockets),
    Metric("container_ulimits_soft", "Soft limits of the container's first process.", pb.GAUGE, _soft_limits,
           ("ulimit",)),
    _limit("cpu_shares", "The container's CPU shares.", lambda limits: limits.cpu_shares),
    _limit("cpu_period", "The period of the CPU quota, in microseconds.", lambda limits: limits.cpu_period_us),
    _limit("cpu_quota", "CPU time that may be used in a period, in microseconds.",
           lambda limits: limits.cpu_quota_us or None),
    _limit("memory_limit_bytes", "The memory limit, in bytes; 0: none.", lambda limits: limits.memory_bytes),
    _limit("memory_reservation_limit_bytes", "Memory that is kept for the container, in bytes; 0: none.",
           lambda limits: limits.memory_reservation_bytes),
    _limit("memory_swap_limit_bytes", "The limit of swap (cgroup v1: of memory and swap), in bytes; 0: none.",
           lambda limits: limits.swap_bytes),
)  # fmt: skip


def _traffic(name: str, text: str, number: Callable[[InterfaceCounters], int]) -> Metric[PodMetrics]:
    def read(source: PodMetrics) -> Samples:
        return [((interface.name,), number(interface)) for interface in source.network]

    return Metric(f"container_network_{name}_total", text, pb.COUNTER, read, ("interface",))


POD: tuple[Metric[PodMetrics], ...] = (
    _traffic("receive_bytes", "Bytes received.", lambda i: i.rx_bytes),
    _traffic("receive_packets", "Packets received.", lambda i: i.rx_packets),
    _traffic("receive_packets_dropped", "Packets dropped on receiving.", lambda i: i.rx_dropped),
    _traffic("receive_errors", "Errors on receiving.", lambda i: i.rx_errors),
    _traffic("transmit_bytes", "Bytes sent.", lambda i: i.tx_bytes),
    _traffic("transmit_packets", "Packets sent.", lambda i: i.tx_packets),
    _traffic("transmit_packets_dropped", "Packets dropped on sending.", lambda i: i.tx_dropped),
    _traffic("transmit_errors", "Errors on sending.", lambda i: i.tx_errors),
)


def descriptors() -> list[pb.MetricDescriptor]:
    """All metrics there are."""
    return [*(metric.descriptor() for metric in CONTAINER), *(metric.descriptor() for metric in POD)]


def pod_metrics(source: PodMetrics) -> pb.PodSandboxMetrics:
    """The samples of a pod and of its containers. Sums over containers leave the pod's out: its `container` is ""."""
    metadata = source.sandbox.config.metadata
    labels = (source.cgroup, source.sandbox.id, "", metadata.namespace, metadata.name, "")
    return pb.PodSandboxMetrics(
        pod_sandbox_id=source.sandbox.id,
        metrics=_samples(POD, source, labels),
        container_metrics=(
            pb.ContainerMetrics(
                container_id=each.container.id, metrics=_samples(CONTAINER, each, _labels(each, labels))
            )
            for each in source.containers
        ),
    )


def _labels(source: ContainerMetrics, of_pod: tuple[str, ...]) -> tuple[str, ...]:
    container, (_, _, _, namespace, pod, _) = source.container, of_pod
    config = container.config
    return (container.record.cgroup, container.id, user_image(config), namespace, pod, config.metadata.name)


def _samples(metrics: Sequence[Metric[S]], source: S, labels: tuple[str, ...]) -> Iterator[pb.Metric]:
    for metric in metrics:
        yield from metric.samples(source, labels)
