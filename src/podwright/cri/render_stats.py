"""From readings of the kernel's counters to the CRI's statistics. What the kernel doesn't say is left out, not 0."""

from __future__ import annotations

from collections.abc import Sequence

from podwright.cgroup.base import CgroupStats, Pressure, PressureStats
from podwright.container.disk import DiskUsage
from podwright.container.stats import ContainerStats
from podwright.criapi import api_pb2 as pb
from podwright.network.base import INTERFACE
from podwright.network.counters import InterfaceCounters
from podwright.sandbox.stats import PodStats


def container_stats(stats: ContainerStats) -> pb.ContainerStats:
    """ContainerStats of a container that runs."""
    container, config = stats.container, stats.container.config
    return pb.ContainerStats(
        attributes=pb.ContainerAttributes(
            id=container.id, metadata=config.metadata, labels=config.labels, annotations=config.annotations
        ),
        cpu=_cpu(stats.cgroup, stats.nano_cores),
        memory=_memory(stats.cgroup),
        swap=_swap(stats.cgroup),
        io=_io(stats.cgroup),
        writable_layer=None if stats.disk is None else _disk(stats.disk, stats.mountpoint),
    )


def pod_stats(stats: PodStats) -> pb.PodSandboxStats:
    """PodSandboxStats of a ready pod, with those of its running containers."""
    sandbox, config = stats.sandbox, stats.sandbox.config
    timestamp = stats.cgroup.timestamp_ns
    return pb.PodSandboxStats(
        attributes=pb.PodSandboxAttributes(
            id=sandbox.id, metadata=config.metadata, labels=config.labels, annotations=config.annotations
        ),
        linux=pb.LinuxPodSandboxStats(
            cpu=_cpu(stats.cgroup, stats.nano_cores),
            memory=_memory(stats.cgroup),
            io=_io(stats.cgroup),
            network=None if stats.network is None else _network(stats.network, timestamp),
            process=pb.ProcessUsage(timestamp=timestamp, process_count=_number(stats.processes)),
            containers=map(container_stats, stats.containers),
        ),
    )


def _number(value: int | None) -> pb.UInt64Value | None:
    return None if value is None else pb.UInt64Value(value=value)


def _cpu(stats: CgroupStats, nano_cores: int | None) -> pb.CpuUsage:
    cpu = stats.cpu
    if cpu is None:
        return pb.CpuUsage(timestamp=stats.timestamp_ns)
    return pb.CpuUsage(
        timestamp=stats.timestamp_ns, usage_core_nano_seconds=_number(cpu.usage_ns),
        usage_nano_cores=_number(nano_cores), psi=_psi(cpu.pressure),
    )  # fmt: skip


def _memory(stats: CgroupStats) -> pb.MemoryUsage:
    memory = stats.memory
    if memory is None:
        return pb.MemoryUsage(timestamp=stats.timestamp_ns)
    return pb.MemoryUsage(
        timestamp=stats.timestamp_ns, working_set_bytes=_number(memory.working_set_bytes),
        available_bytes=_number(memory.available_bytes if memory.limit_bytes else None),
        usage_bytes=_number(memory.usage_bytes), rss_bytes=_number(memory.rss_bytes),
        page_faults=_number(memory.page_faults), major_page_faults=_number(memory.major_page_faults),
        psi=_psi(memory.pressure),
    )  # fmt: skip


def _swap(stats: CgroupStats) -> pb.SwapUsage | None:
    if stats.memory is None or stats.memory.swap is None:
        return None
    swap = stats.memory.swap
    return pb.SwapUsage(
        timestamp=stats.timestamp_ns, swap_available_bytes=_number(swap.available_bytes),
        swap_usage_bytes=_number(swap.usage_bytes),
    )  # fmt: skip


def _io(stats: CgroupStats) -> pb.IoUsage | None:
    """The message has nothing but pressure to tell."""
    return pb.IoUsage(timestamp=stats.timestamp_ns, psi=_psi(stats.io_pressure)) if stats.io_pressure else None


def _psi(stats: PressureStats | None) -> pb.PsiStats | None:
    if stats is None:
        return None
    return pb.PsiStats(Full=_stalled(stats.full) if stats.full else None, Some=_stalled(stats.some))


def _stalled(line: Pressure) -> pb.PsiData:
    return pb.PsiData(Total=line.total_us, Avg10=line.avg10, Avg60=line.avg60, Avg300=line.avg300)


def _disk(usage: DiskUsage, mountpoint: str) -> pb.FilesystemUsage:
    return pb.FilesystemUsage(
        timestamp=usage.timestamp_ns, fs_id=pb.FilesystemIdentifier(mountpoint=mountpoint),
        used_bytes=_number(usage.bytes), inodes_used=_number(usage.inodes),
    )  # fmt: skip


def _network(interfaces: Sequence[InterfaceCounters], timestamp_ns: int) -> pb.NetworkUsage:
    """The default interface apart: the one CNI was asked for, else the first; the kubelet shows it as the pod's."""
    default = next((each for each in interfaces if each.name == INTERFACE), next(iter(interfaces), None))
    return pb.NetworkUsage(
        timestamp=timestamp_ns,
        default_interface=None if default is None else _interface(default),
        interfaces=[_interface(each) for each in interfaces if each is not default],
    )


def _interface(counters: InterfaceCounters) -> pb.NetworkInterfaceUsage:
    return pb.NetworkInterfaceUsage(
        name=counters.name, rx_bytes=_number(counters.rx_bytes), rx_errors=_number(counters.rx_errors),
        tx_bytes=_number(counters.tx_bytes), tx_errors=_number(counters.tx_errors),
    )  # fmt: skip
