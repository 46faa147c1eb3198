"""CPU percentages: the runtime's own, or from two samples; and numbers that a runtime doesn't give."""

from podwright.cli.stats import cpu_percent, pod_row, row
from podwright.criapi import api_pb2 as pb


def cpu(timestamp: int, used: int) -> pb.CpuUsage:
    return pb.CpuUsage(timestamp=timestamp, usage_core_nano_seconds=pb.UInt64Value(value=used))


def test_the_runtimes_own_rate() -> None:
    assert cpu_percent(pb.CpuUsage(usage_nano_cores=pb.UInt64Value(value=1_500_000_000)), None) == "150.0"


def test_the_difference_of_two_samples() -> None:
    before = cpu(10**9, 0)
    assert cpu_percent(cpu(2 * 10**9, 250_000_000), before) == "25.0"


def test_nothing_to_tell() -> None:
    before = cpu(10**9, 0)
    assert cpu_percent(cpu(10**9, 5), before) == ""
    assert cpu_percent(cpu(2 * 10**9, 5), None) == ""


def test_what_the_runtime_does_not_say_is_left_open() -> None:
    container = pb.ContainerStats(memory=pb.MemoryUsage(working_set_bytes=pb.UInt64Value(value=5)))
    assert list(row(container, None, "web"))[2:] == ["web", "", "5 B", "", ""]
    pod = pb.PodSandboxStats(attributes=pb.PodSandboxAttributes(id="a" * 64))
    assert pod_row(pod, None) == ("a" * 12, "", "", "", "0 B", "0", "", "")


def test_a_pod() -> None:
    number = pb.UInt64Value
    pod = pb.PodSandboxStats(
        attributes=pb.PodSandboxAttributes(id="a" * 64, metadata=pb.PodSandboxMetadata(name="web", namespace="ns")),
        linux=pb.LinuxPodSandboxStats(
            cpu=pb.CpuUsage(usage_nano_cores=number(value=250_000_000)),
            memory=pb.MemoryUsage(working_set_bytes=number(value=2_000_000)),
            process=pb.ProcessUsage(process_count=number(value=7)),
            network=pb.NetworkUsage(
                default_interface=pb.NetworkInterfaceUsage(rx_bytes=number(value=1000), tx_bytes=number(value=0))
            ),
        ),
    )
    assert pod_row(pod, None) == ("a" * 12, "web", "ns", "25.0", "2 MB", "7", "1 kB", "0 B")
