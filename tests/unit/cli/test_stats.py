"""CPU percentages: the runtime's own, or from two samples."""

from podwright.cli.stats import cpu_percent
from podwright.criapi import api_pb2 as pb


def cpu(timestamp: int, used: int) -> pb.CpuUsage:
    return pb.CpuUsage(timestamp=timestamp, usage_core_nano_seconds=pb.UInt64Value(value=used))


def test_the_runtimes_own_rate() -> None:
    assert cpu_percent(pb.CpuUsage(usage_nano_cores=pb.UInt64Value(value=1_500_000_000)), None) == "150.0"


def test_the_difference_of_two_samples() -> None:
    before = pb.ContainerStats(cpu=cpu(10**9, 0))
    assert cpu_percent(cpu(2 * 10**9, 250_000_000), before) == "25.0"


def test_nothing_to_tell() -> None:
    before = pb.ContainerStats(cpu=cpu(10**9, 0))
    assert cpu_percent(cpu(10**9, 5), before) == ""
    assert cpu_percent(cpu(2 * 10**9, 5), None) == ""
