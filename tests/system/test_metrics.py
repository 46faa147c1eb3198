"""ListMetricDescriptors and ListPodSandboxMetrics of real pods; the names are unit-tested (tests/unit/cri)."""

from __future__ import annotations

from podwright.criapi import api_pb2 as pb
from tests.support.daemon import Daemon
from tests.support.events import wait

# What depends on what the machine has: block devices that count, huge pages, pressure, a quota.
SOMETIMES = ("container_blkio_", "container_fs_reads", "container_fs_writes", "container_hugetlb", "container_pressure")


def metrics_of(daemon: Daemon) -> dict[str, pb.PodSandboxMetrics]:
    answer = daemon.runtime.ListPodSandboxMetrics(pb.ListPodSandboxMetricsRequest())
    return {pod.pod_sandbox_id: pod for pod in answer.pod_metrics}


def values(metrics: object) -> dict[str, int]:
    return {metric.name: metric.value.value for metric in metrics}  # type: ignore[attr-defined]


def test_a_running_pod(daemon: Daemon) -> None:
    pod = daemon.run_pod("web")
    limit = 64 * 1024 * 1024
    resources = pb.LinuxContainerResources(
        cpu_period=100_000, cpu_quota=50_000, cpu_shares=1024, memory_limit_in_bytes=limit,
        memory_swap_limit_in_bytes=limit,
    )  # fmt: skip
    script = "dd if=/dev/zero of=/file bs=1024 count=512 2>/dev/null; echo written; exec 3</dev/null; sleep 60"
    container = daemon.run_container(pod, "sh", "-c", script, resources=resources)
    wait(lambda: "written" in (daemon.directory / "logs/web/main.log").read_text(), "the file")
    keys = {
        descriptor.name: list(descriptor.label_keys)
        for descriptor in daemon.runtime.ListMetricDescriptors(pb.ListMetricDescriptorsRequest()).descriptors
    }
    found = metrics_of(daemon)[pod]
    (of_container,) = found.container_metrics
    assert of_container.container_id == container
    present = values(found.metrics) | values(of_container.metrics)
    assert {name for name in keys.keys() - present.keys() if not name.startswith(SOMETIMES)} == set()
    for metric in [*found.metrics, *of_container.metrics]:
        assert len(metric.label_values) == len(keys[metric.name])
    labels = dict(zip(keys["container_threads"], of_container.metrics[0].label_values, strict=False))
    assert (labels["name"], labels["namespace"], labels["pod"], labels["container"]) == (
        container,
        "test",
        "web",
        "main",
    )
    assert labels["image"].endswith("hello:latest")
    assert present["container_fs_usage_bytes"] >= 512 * 1024
    assert present["container_fs_limit_bytes"] > present["container_fs_usage_bytes"]
    assert present["container_processes"] >= 1
    assert present["container_file_descriptors"] >= 4
    assert present["container_spec_memory_limit_bytes"] == limit
    assert (present["container_spec_cpu_period"], present["container_spec_cpu_quota"]) == (100_000, 50_000)
    assert present["container_spec_cpu_shares"] > 2  # runtimes differ in how shares become weights on v2
    assert 0 < present["container_memory_working_set_bytes"] < limit
    assert present["container_network_receive_packets_total"] >= 0
    assert present["container_start_time_seconds"] <= present["container_last_seen"]


def test_which_pods(crun_daemon: Daemon) -> None:
    """Ready ones, with their running containers; the host's network is not a pod's."""
    pod, of_host, stopped = (
        crun_daemon.run_pod("a"),
        crun_daemon.run_pod("b", host_network=True),
        crun_daemon.run_pod("c"),
    )
    running = crun_daemon.run_container(of_host, "sleep", "60")
    crun_daemon.wait_exit(crun_daemon.run_container(of_host, "sh", "-c", "exit 0", name="ended"))
    crun_daemon.stop_pod(stopped)
    found = metrics_of(crun_daemon)
    assert found.keys() == {pod, of_host}
    assert list(found[pod].container_metrics) == []
    assert len(found[pod].metrics) == 8
    assert list(found[of_host].metrics) == []
    assert [each.container_id for each in found[of_host].container_metrics] == [running]
    (answer,) = crun_daemon.runtime.StreamPodSandboxMetrics(pb.StreamPodSandboxMetricsRequest())
    assert {each.pod_sandbox_id for each in answer.pod_sandbox_metrics} == {pod, of_host}


def test_no_pods(crun_daemon: Daemon) -> None:
    assert metrics_of(crun_daemon) == {}
    assert list(crun_daemon.runtime.StreamPodSandboxMetrics(pb.StreamPodSandboxMetricsRequest())) == []
