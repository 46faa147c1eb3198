"""Statistics of containers and pods, as the kubelet polls them."""

from __future__ import annotations

import subprocess  # noqa: TID251 - tests look into a pod from outside
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import grpc
import pytest

from podwright.criapi import api_pb2 as pb
from tests.support import names
from tests.support.daemon import Daemon, container_config
from tests.support.events import wait
from tests.support.images import refusal

T = TypeVar("T")
BURN = "while :; do :; done"
UNIFIED = Path("/sys/fs/cgroup/unified/cgroup.controllers")
V2 = Path("/sys/fs/cgroup/cgroup.controllers")


def stats_of(daemon: Daemon, container: str) -> pb.ContainerStats:
    stats = daemon.runtime.ContainerStats(pb.ContainerStatsRequest(container_id=container)).stats
    assert isinstance(stats, pb.ContainerStats)
    return stats


def listed(daemon: Daemon, wanted: pb.ContainerStatsFilter | None = None) -> list[str]:
    request = pb.ListContainerStatsRequest(filter=wanted)
    return sorted(stats.attributes.id for stats in daemon.runtime.ListContainerStats(request).stats)


def pod_stats(daemon: Daemon, pod: str) -> pb.PodSandboxStats:
    stats = daemon.runtime.PodSandboxStats(pb.PodSandboxStatsRequest(pod_sandbox_id=pod)).stats
    assert isinstance(stats, pb.PodSandboxStats)
    return stats


def listed_pods(daemon: Daemon, wanted: pb.PodSandboxStatsFilter | None = None) -> list[str]:
    request = pb.ListPodSandboxStatsRequest(filter=wanted)
    return sorted(stats.attributes.id for stats in daemon.runtime.ListPodSandboxStats(request).stats)


def when(read: Callable[[], T], holds: Callable[[T], bool]) -> T:
    """What is read, as soon as it holds."""
    found: list[T] = []

    def check() -> bool:
        found[:] = [read()]
        return holds(found[0])

    wait(check, "the statistics")
    return found[0]


def test_a_container(daemon: Daemon) -> None:
    pod = daemon.run_pod(host_network=True)
    limit = 64 * 1024 * 1024
    container = daemon.run_container(
        pod, "sh", "-c", f"dd if=/dev/zero of=/big bs=1024 count=2048 2>/dev/null; echo done; {BURN}",
        resources=pb.LinuxContainerResources(memory_limit_in_bytes=limit), labels={"a": "b"},
        annotations={"note": "kept"},
    )  # fmt: skip
    wait(lambda: "done" in (daemon.directory / "logs/pod/main.log").read_text(), "the file")
    stats = when(lambda: stats_of(daemon, container), lambda s: s.cpu.HasField("usage_nano_cores"))
    assert (stats.attributes.id, stats.attributes.metadata.name) == (container, "main")
    assert (dict(stats.attributes.labels), dict(stats.attributes.annotations)) == ({"a": "b"}, {"note": "kept"})
    assert stats.cpu.timestamp > 0
    assert stats.cpu.usage_core_nano_seconds.value > 1_000_000
    assert stats.cpu.usage_nano_cores.value > 1_000_000
    memory = stats.memory
    assert memory.timestamp > 0
    assert 0 < memory.working_set_bytes.value <= memory.usage_bytes.value < limit
    assert memory.available_bytes.value == limit - memory.working_set_bytes.value
    assert memory.page_faults.value > 0
    stats = when(lambda: stats_of(daemon, container), lambda s: s.HasField("writable_layer"))
    assert stats.writable_layer.used_bytes.value >= 2048 * 1024
    assert stats.writable_layer.inodes_used.value > 1
    assert stats.writable_layer.fs_id.mountpoint == str(daemon.root / "snapshots")


def test_a_container_without_limits(crun_daemon: Daemon) -> None:
    container = crun_daemon.run_container(crun_daemon.run_pod(host_network=True), "sleep", "60")
    stats = stats_of(crun_daemon, container)
    assert not stats.memory.HasField("available_bytes")
    assert not stats.swap.HasField("swap_available_bytes")


def test_a_container_that_may_not_swap(crun_daemon: Daemon) -> None:
    limit = 64 * 1024 * 1024
    resources = pb.LinuxContainerResources(memory_limit_in_bytes=limit, memory_swap_limit_in_bytes=limit)
    pod = crun_daemon.run_pod(host_network=True)
    stats = stats_of(crun_daemon, crun_daemon.run_container(pod, "sleep", "60", resources=resources))
    if not stats.HasField("swap"):
        pytest.skip("this kernel does not account for swap")
    assert stats.swap.HasField("swap_available_bytes")
    assert (stats.swap.swap_available_bytes.value, stats.swap.swap_usage_bytes.value) == (0, 0)


@pytest.mark.skipif(not V2.exists() and not UNIFIED.exists(), reason="the kernel keeps pressure in cgroup v2 alone")
def test_pressure(daemon: Daemon) -> None:
    """Two of them on one CPU wait for each other, where the kernel sees them (v2; hybrid if the runtime takes part)."""
    pod = daemon.run_pod(host_network=True)
    container = daemon.run_container(pod, "sh", "-c", f"({BURN}) & ({BURN}) & ({BURN}) & {BURN}")
    stats = stats_of(daemon, container)
    if not stats.cpu.HasField("psi"):
        pytest.skip("this runtime leaves the container out of the v2 hierarchy")
    stats = when(lambda: stats_of(daemon, container), lambda s: s.cpu.psi.Some.Total > 0)
    assert stats.memory.HasField("psi")
    assert stats.io.timestamp > 0
    assert stats.io.psi.HasField("Some")


def test_which_containers(crun_daemon: Daemon) -> None:
    """Running ones that pass the filter; ids of filters may be prefixes."""
    pod, other = crun_daemon.run_pod("pod", host_network=True), crun_daemon.run_pod("other", host_network=True)
    one = crun_daemon.run_container(pod, "sleep", "60", name="one", labels={"tier": "front", "app": "web"})
    two = crun_daemon.run_container(other, "sleep", "60", name="two", labels={"app": "web"})
    created = crun_daemon.create(pod, container_config("created", "sleep", "60"))
    ended = crun_daemon.run_container(pod, "sh", "-c", "exit 0", name="ended")
    crun_daemon.wait_exit(ended)
    assert listed(crun_daemon) == sorted([one, two])
    assert listed(crun_daemon, pb.ContainerStatsFilter(id=one[:10])) == [one]
    assert listed(crun_daemon, pb.ContainerStatsFilter(pod_sandbox_id=other)) == [two]
    assert listed(crun_daemon, pb.ContainerStatsFilter(label_selector={"app": "web"})) == sorted([one, two])
    assert listed(crun_daemon, pb.ContainerStatsFilter(label_selector={"app": "web", "tier": "front"})) == [one]
    assert listed(crun_daemon, pb.ContainerStatsFilter(id=one, pod_sandbox_id=other)) == []
    (answer,) = crun_daemon.runtime.StreamContainerStats(
        pb.StreamContainerStatsRequest(filter=pb.ContainerStatsFilter(id=two))
    )
    assert [stats.attributes.id for stats in answer.container_stats] == [two]
    nothing = pb.StreamContainerStatsRequest(filter=pb.ContainerStatsFilter(id="f" * 64))
    assert list(crun_daemon.runtime.StreamContainerStats(nothing)) == []
    for container in (created, ended, "f" * 64):
        assert refusal(lambda: stats_of(crun_daemon, container))[0] == grpc.StatusCode.NOT_FOUND  # noqa: B023
    assert refusal(lambda: stats_of(crun_daemon, ""))[0] == grpc.StatusCode.INVALID_ARGUMENT


def test_containers_that_go_while_they_are_read(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod(host_network=True)
    stays = crun_daemon.run_container(pod, "sleep", "60", name="stays")
    going = [crun_daemon.run_container(pod, "sleep", "60", name=f"c{number}") for number in range(4)]

    def remove() -> None:
        for container in going:
            crun_daemon.remove_container(container)

    removing = threading.Thread(target=remove)
    removing.start()
    while removing.is_alive():
        assert stays in listed(crun_daemon)
        assert listed_pods(crun_daemon) == [pod]
    removing.join()
    assert listed(crun_daemon) == [stays]


def test_a_pod(daemon: Daemon) -> None:
    pod = daemon.run_pod(labels={"app": "web"}, annotations={"note": "kept"})
    burning = daemon.run_container(pod, "sh", "-c", f"sleep 60 & {BURN}", name="burning")
    idle = daemon.run_container(pod, "sleep", "60", name="idle")
    ended = daemon.run_container(pod, "sh", "-c", "exit 0", name="ended")
    daemon.wait_exit(ended)
    when(lambda: pod_stats(daemon, pod), lambda s: s.linux.process.process_count.value == 3)
    stats = when(lambda: pod_stats(daemon, pod), lambda s: s.linux.cpu.HasField("usage_nano_cores"))
    assert (stats.attributes.id, stats.attributes.metadata.namespace) == (pod, "test")
    assert (dict(stats.attributes.labels), dict(stats.attributes.annotations)) == ({"app": "web"}, {"note": "kept"})
    linux = stats.linux
    assert linux.process.process_count.value == 3
    by_id = {each.attributes.id: each for each in linux.containers}
    assert by_id.keys() == {burning, idle}
    assert linux.cpu.usage_nano_cores.value > 1_000_000
    assert linux.cpu.usage_core_nano_seconds.value >= by_id[burning].cpu.usage_core_nano_seconds.value
    assert linux.memory.usage_bytes.value > 0
    assert {linux.cpu.timestamp, linux.memory.timestamp, linux.process.timestamp} == {linux.network.timestamp}


def in_pod(daemon: Daemon, pod: str, *command: str) -> None:
    """Run a program of the host's in the pod's network namespace."""
    netns = daemon.run / "sandboxes" / pod / "netns"
    subprocess.run(["nsenter", f"--net={netns}", *command], check=True, stdout=subprocess.DEVNULL)


def test_a_pods_network(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod()
    before = pod_stats(crun_daemon, pod).linux.network
    assert before.default_interface.name == "eth0"
    assert list(before.interfaces) == []
    gateway = crun_daemon.pod_status(pod).network.ip.rpartition(".")[0] + ".1"
    send = f"import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(bytes(1000), ('{gateway}', 9))"
    in_pod(crun_daemon, pod, sys.executable, "-c", send)  # the answer is that nobody listens
    after = pod_stats(crun_daemon, pod).linux.network.default_interface
    assert after.rx_bytes.value > before.default_interface.rx_bytes.value
    assert after.tx_bytes.value >= before.default_interface.tx_bytes.value + 1000
    assert after.HasField("rx_errors")
    assert after.HasField("tx_errors")


def test_further_interfaces_are_apart(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod()
    in_pod(crun_daemon, pod, "ip", "link", "add", "extra0", "type", "veth", "peer", "name", "extra1")
    network = pod_stats(crun_daemon, pod).linux.network
    assert network.default_interface.name == "eth0"
    assert sorted(interface.name for interface in network.interfaces) == ["extra0", "extra1"]


def test_pods_without_containers_and_on_the_hosts_network(crun_daemon: Daemon) -> None:
    empty, of_host = crun_daemon.run_pod("empty"), crun_daemon.run_pod("host", host_network=True)
    linux = pod_stats(crun_daemon, empty).linux
    assert linux.cpu.HasField("usage_core_nano_seconds")
    assert linux.memory.HasField("working_set_bytes")
    assert linux.process.process_count.value == 0
    assert list(linux.containers) == []
    assert linux.network.default_interface.name == "eth0"
    assert not pod_stats(crun_daemon, of_host).linux.HasField("network")


def test_which_pods(crun_daemon: Daemon) -> None:
    """Ready ones that pass the filter."""
    web = crun_daemon.run_pod("web", host_network=True, labels={"app": "web"})
    other, stopped = crun_daemon.run_pod("other", host_network=True), crun_daemon.run_pod("stopped")
    crun_daemon.stop_pod(stopped)
    assert listed_pods(crun_daemon) == sorted([web, other])
    assert listed_pods(crun_daemon, pb.PodSandboxStatsFilter(id=web[:10])) == [web]
    assert listed_pods(crun_daemon, pb.PodSandboxStatsFilter(label_selector={"app": "web"})) == [web]
    assert listed_pods(crun_daemon, pb.PodSandboxStatsFilter(id=other, label_selector={"app": "web"})) == []
    assert listed_pods(crun_daemon, pb.PodSandboxStatsFilter(id=stopped)) == []
    (answer,) = crun_daemon.runtime.StreamPodSandboxStats(pb.StreamPodSandboxStatsRequest())
    assert sorted(stats.attributes.id for stats in answer.pod_sandbox_stats) == sorted([web, other])
    nothing = pb.StreamPodSandboxStatsRequest(filter=pb.PodSandboxStatsFilter(id="f" * 64))
    assert list(crun_daemon.runtime.StreamPodSandboxStats(nothing)) == []
    for pod in (stopped, "f" * 64):
        assert refusal(lambda: pod_stats(crun_daemon, pod))[0] == grpc.StatusCode.NOT_FOUND  # noqa: B023
    assert refusal(lambda: pod_stats(crun_daemon, ""))[0] == grpc.StatusCode.INVALID_ARGUMENT


def test_pods_that_share_a_cgroup_are_told_apart(crun_daemon: Daemon) -> None:
    """The kubelet gives each pod a cgroup of its own; crictl and others may not."""
    parent = f"{crun_daemon.cgroup_parent}/shared"
    busy = crun_daemon.run_pod("busy", host_network=True, cgroup_parent=parent)
    idle = crun_daemon.run_pod("idle", host_network=True, cgroup_parent=parent)
    crun_daemon.run_container(busy, "sh", "-c", f"sleep 60 & {BURN}")
    container = crun_daemon.run_container(idle, "sleep", "60")
    linux = pod_stats(crun_daemon, idle).linux
    (of_container,) = linux.containers
    assert of_container.attributes.id == container
    assert linux.process.process_count.value == 1
    assert linux.memory.usage_bytes.value == of_container.memory.usage_bytes.value
    when(lambda: pod_stats(crun_daemon, busy), lambda s: s.linux.process.process_count.value == 2)
    crun_daemon.remove_pod(idle)  # the one that made the cgroup goes last


def test_rates_after_a_restart(crun_daemon: Daemon) -> None:
    """Nothing is known of the time before, so the first reading has no rate, and the second the right one."""
    pod = crun_daemon.run_pod(host_network=True, cgroup_parent=f"{crun_daemon.cgroup_parent}/{names.unique('p')}")
    container = crun_daemon.run_container(pod, "sh", "-c", BURN)
    counted = stats_of(crun_daemon, container).cpu.usage_core_nano_seconds.value
    crun_daemon.restart()
    first, first_of_pod = stats_of(crun_daemon, container), pod_stats(crun_daemon, pod)
    assert first.cpu.usage_core_nano_seconds.value > counted
    assert not first.cpu.HasField("usage_nano_cores")
    assert not first_of_pod.linux.cpu.HasField("usage_nano_cores")
    later = when(lambda: pod_stats(crun_daemon, pod), lambda s: s.linux.cpu.HasField("usage_nano_cores"))
    cpus = 1_000_000_000
    assert 0 < later.linux.cpu.usage_nano_cores.value <= 2 * cpus
    assert 0 < stats_of(crun_daemon, container).cpu.usage_nano_cores.value <= 2 * cpus
