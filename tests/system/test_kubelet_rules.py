"""What the kubelet takes for granted and critest does not look at, a rule a test."""

from __future__ import annotations

import json
import re
import subprocess  # noqa: TID251 - tests look behind the daemon's back
from pathlib import Path

import grpc
import pytest

from podwright.criapi import api_pb2 as pb
from tests.support.daemon import Daemon, container_config
from tests.support.images import refusal

pytestmark = pytest.mark.root

SEMVER = r"\d+\.\d+\.\d+([-+].+)?"
SHARED = pb.NamespaceOption(pid=pb.POD)


def test_the_version_is_a_semantic_one(crun_daemon: Daemon) -> None:
    """The kubelet refuses to start with an empty string, and parses the runtime's version."""
    version = crun_daemon.runtime.Version(pb.VersionRequest())
    assert re.fullmatch(SEMVER, version.runtime_version)
    assert version.version


def test_a_status_of_a_pod_has_all_of_its_containers(crun_daemon: Daemon) -> None:
    """With `timestamp`, so that the evented PLEG asks for none of them."""
    pod = crun_daemon.run_pod(host_network=True)
    ended = crun_daemon.run_container(pod, "sh", "-c", "exit 3", name="ended")
    crun_daemon.wait_exit(ended)
    running = crun_daemon.run_container(pod, "sleep", "1000", name="running")
    answer = crun_daemon.runtime.PodSandboxStatus(pb.PodSandboxStatusRequest(pod_sandbox_id=pod))
    assert answer.timestamp > crun_daemon.status(running).started_at
    assert {status.id: status for status in answer.containers_statuses} == {
        container: crun_daemon.status(container) for container in (ended, running)
    }
    assert not answer.info


def test_filters_of_containers(crun_daemon: Daemon) -> None:
    def listed(**conditions: object) -> set[str]:
        wanted = pb.ContainerFilter(**conditions)  # type: ignore[arg-type]
        found = crun_daemon.runtime.ListContainers(pb.ListContainersRequest(filter=wanted)).containers
        assert all(one.HasField("image") and one.image.image and one.created_at for one in found)
        return {one.metadata.name for one in found}

    pods = [crun_daemon.run_pod(name, host_network=True) for name in ("first", "second")]
    one = crun_daemon.run_container(pods[0], "sleep", "1000", name="one", labels={"app": "a", "tier": "x"})
    crun_daemon.create(pods[1], container_config("two", "sleep", "1000", labels={"app": "b", "tier": "x"}))
    running = pb.ContainerStateValue(state=pb.CONTAINER_RUNNING)
    assert listed() == listed(label_selector={"tier": "x"}) == {"one", "two"}
    assert listed(id=one) == listed(id=one[:20]) == listed(state=running) == {"one"}
    assert listed(pod_sandbox_id=pods[1]) == listed(pod_sandbox_id=pods[1][:20]) == {"two"}
    assert listed(label_selector={"tier": "x", "app": "b"}) == {"two"}
    assert listed(pod_sandbox_id=pods[1], state=running) == listed(id=one, label_selector={"app": "b"}) == set()
    assert listed(id="no such id") == set()


def test_the_termination_message_is_found_by_the_status(crun_daemon: Daemon, tmp_path: Path) -> None:
    """The kubelet reads it on the host, by the mount that the status of the ended container shows."""
    message = tmp_path / "message"
    message.touch()
    mount = pb.Mount(container_path="/dev/termination-log", host_path=str(message))
    script = "echo because > /dev/termination-log; exit 1"
    container = crun_daemon.run_container(crun_daemon.run_pod(), "sh", "-c", script, mounts=[mount])
    crun_daemon.wait_exit(container)
    crun_daemon.restart()
    (shown,) = crun_daemon.status(container).mounts
    assert shown.container_path == "/dev/termination-log"
    assert Path(shown.host_path).read_text() == "because\n"


@pytest.mark.parametrize("way", ["stop", "remove"])
def test_no_process_of_a_shared_pid_namespace_survives_its_container(daemon: Daemon, way: str) -> None:
    """Its first process is none of a namespace's, with which all would end."""
    pod = daemon.run_pod(pid=pb.POD)
    security = pb.LinuxContainerSecurityContext(namespace_options=SHARED)
    watcher = daemon.run_container(pod, "sleep", "1000", name="watcher", security=security)
    script = "sleep 4321 & (setsid sleep 4321 &) ; wait"
    many = daemon.run_container(pod, "sh", "-c", script, name="many", security=security)
    daemon.wait_until(lambda: daemon.exec(watcher, "ps").stdout.count(b"sleep 4321") >= 2)
    if way == "stop":
        daemon.stop_container(many, 1)
        assert daemon.status(many).finished_at
    else:
        daemon.remove_container(many)
    assert b"sleep 4321" not in daemon.exec(watcher, "ps").stdout


def test_a_stop_goes_on_without_its_caller(crun_daemon: Daemon) -> None:
    container = crun_daemon.run_container(crun_daemon.run_pod(host_network=True), "sleep", "1000")
    stop = pb.StopContainerRequest(container_id=container, timeout=1)
    code, _ = refusal(lambda: crun_daemon.runtime.StopContainer(stop, timeout=0.2))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert crun_daemon.status(container).state == pb.CONTAINER_RUNNING
    assert crun_daemon.wait_exit(container).exit_code == 137


def test_the_signal_that_stops(crun_daemon: Daemon) -> None:
    config = container_config("main", "sh", "-c", "trap 'exit 4' USR1; echo set; while :; do sleep 0.05; done")
    config.stop_signal = pb.SIGNAL_SIGUSR1
    container = crun_daemon.create(crun_daemon.run_pod(host_network=True), config)
    crun_daemon.start_container(container)
    crun_daemon.wait_log(container, "set")
    assert crun_daemon.status(container).stop_signal == pb.SIGNAL_SIGUSR1, "the kubelet shows it"
    crun_daemon.stop_container(container, 10)
    assert crun_daemon.status(container).exit_code == 4
    default = crun_daemon.create(crun_daemon.pods()[0].id, container_config("default", "sleep", "1"))
    assert crun_daemon.status(default).stop_signal == pb.SIGNAL_SIGTERM


def test_a_log_that_can_not_be_reopened_is_not_made(crun_daemon: Daemon) -> None:
    """The kubelet puts the renamed one back then."""
    container = crun_daemon.run_container(crun_daemon.run_pod(host_network=True), "sh")
    crun_daemon.wait_exit(container)
    log = Path(crun_daemon.status(container).log_path)
    log.rename(f"{log}.1")
    request = pb.ReopenContainerLogRequest(container_id=container)
    assert refusal(lambda: crun_daemon.runtime.ReopenContainerLog(request))[0] == grpc.StatusCode.FAILED_PRECONDITION
    assert not log.exists()


def test_a_log_is_there_once_the_start_returns(daemon: Daemon) -> None:
    """The kubelet links to it, though nothing has been written yet."""
    container = daemon.run_container(daemon.run_pod(host_network=True), "sleep", "1000")
    assert Path(daemon.status(container).log_path).read_bytes() == b""


def test_a_paused_container_runs(daemon: Daemon) -> None:
    container = daemon.run_container(daemon.run_pod(host_network=True), "sleep", "1000")
    subprocess.run([*daemon.runtime_command(), "pause", container], check=True)
    assert daemon.status(container).state == pb.CONTAINER_RUNNING
    assert [one.state for one in daemon.containers()] == [pb.CONTAINER_RUNNING]
    subprocess.run([*daemon.runtime_command(), "resume", container], check=True)


def test_without_dns_the_pod_has_the_hosts(crun_daemon: Daemon) -> None:
    container = crun_daemon.run_container(crun_daemon.run_pod(), "sleep", "1000")
    assert crun_daemon.exec(container, "cat", "/etc/resolv.conf").stdout == Path("/etc/resolv.conf").read_bytes()


def test_what_is_executed_is_in_the_containers_cgroup(daemon: Daemon) -> None:
    """Its limits hold, and its end is the container's."""
    container = daemon.run_container(daemon.run_pod(host_network=True), "sleep", "1000")
    lines = daemon.exec(container, "cat", "/proc/1/cgroup", "/proc/self/cgroup").stdout.splitlines()
    middle = len(lines) // 2
    assert middle
    assert lines[:middle] == lines[middle:]


def test_the_callers_trace_is_in_the_log(crun_daemon: Daemon) -> None:
    """W3C Trace Context, as the kubelet sends it."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    metadata = [("traceparent", f"00-{trace}-00f067aa0ba902b7-01")]
    crun_daemon.runtime.UpdateRuntimeConfig(pb.UpdateRuntimeConfigRequest(), metadata=metadata)
    crun_daemon.wait_until(lambda: f"trace={trace}" in crun_daemon.log.read_text())
    with pytest.raises(grpc.RpcError):
        crun_daemon.runtime.ContainerStatus(
            pb.ContainerStatusRequest(container_id="none"), metadata=[("traceparent", "rubbish")]
        )


def test_updates_of_the_cpu_manager_touch_nothing_else(crun_daemon: Daemon) -> None:
    """It sends cpuset_cpus alone, every ten seconds."""
    limits = pb.LinuxContainerResources(cpu_quota=50000, cpu_period=100000, memory_limit_in_bytes=64 << 20)
    container = crun_daemon.run_container(crun_daemon.run_pod(), "sleep", "1000", resources=limits)
    change = pb.LinuxContainerResources(cpuset_cpus="0")
    for _ in range(2):
        crun_daemon.runtime.UpdateContainerResources(
            pb.UpdateContainerResourcesRequest(container_id=container, linux=change)
        )
    told = crun_daemon.status(container).resources.linux
    assert (told.cpuset_cpus, told.cpu_quota, told.memory_limit_in_bytes) == ("0", 50000, 64 << 20)
    verbose = pb.ContainerStatusRequest(container_id=container, verbose=True)
    assert json.loads(crun_daemon.runtime.ContainerStatus(verbose).info["info"])["pid"]
