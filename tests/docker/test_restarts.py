"""Docker is restarted or killed under running pods, we are, both are, and things vanish behind our back."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from podwright.criapi import api_pb2 as pb
from tests.support.daemon import container_config
from tests.support.docker_daemon import DockerDaemon, serving_docker
from tests.support.dockerd import Dockerd
from tests.support.events import wait
from tests.support.images import refusal

COUNT = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done"


@pytest.fixture
def node(own_dockerd: Dockerd, tmp_path: Path) -> Iterator[DockerDaemon]:
    """A daemon on an engine of its own, both of which may be ended."""
    own_dockerd.enter_host_network()
    with serving_docker(DockerDaemon(tmp_path, own_dockerd)) as daemon:
        yield daemon
        if not own_dockerd.runs:
            own_dockerd.start()


def numbers(log: Path) -> list[int]:
    return [int(line.split()[3]) for line in log.read_text().splitlines()]


def grown(log: Path) -> None:
    """Wait until output that is written from now on is in the log."""
    last = numbers(log)[-1]
    wait(lambda: numbers(log)[-1] > last + 3, "more output")


def test_everything_but_the_machine_is_restarted(node: DockerDaemon) -> None:
    """With live restore containers outlive all of it: the same processes, addresses, and a log without a gap."""
    docker = node.docker
    pod = node.run_pod()
    container = node.run_container(pod, "sh", "-c", COUNT)
    ip, pid = node.pod_status(pod).network.ip, node.in_engine(container)["State"]["Pid"]
    log = node.wait_log(container, " F 3\n")

    def unchanged() -> None:
        assert node.status(container).state == pb.CONTAINER_RUNNING
        status = node.pod_status(pod)
        assert (status.state, status.network.ip) == (pb.SANDBOX_READY, ip)
        assert node.in_engine(container)["State"]["Pid"] == pid
        assert node.exec(container, "echo", "here").stdout == b"here\n"
        grown(log)
        assert numbers(log) == list(range(1, len(numbers(log)) + 1)), "each line once, in order"

    docker.restart()
    unchanged()
    docker.kill()
    code, words = refusal(lambda: node.run_pod("other", host_network=True))
    assert (code, "no Docker Engine answers at" in words) == (grpc.StatusCode.UNAVAILABLE, True)
    assert node.status(container).state == pb.CONTAINER_RUNNING, "what is known is told, whoever is away"
    docker.start()
    unchanged()
    node.kill()
    docker.kill()
    docker.start()
    node.start()
    unchanged()


def test_what_ends_while_docker_is_away(node: DockerDaemon) -> None:
    pod = node.run_pod(host_network=True)
    container = node.run_container(pod, "sh", "-c", "trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done")
    node.wait_log(container, "up")
    pid = node.in_engine(container)["State"]["Pid"]
    node.docker.kill()
    os.kill(pid, signal.SIGTERM)
    wait(lambda: not Path("/proc", str(pid), "exe").exists(), "the end of the process")
    node.docker.start()
    status = node.wait_exit(container, 30)
    assert (status.exit_code, status.reason) == (5, "Error")
    assert status.finished_at > status.started_at > 0


def test_what_others_remove(docker_daemon: DockerDaemon) -> None:
    """A container, then the sandbox container: both are noticed, and stop and remove go through all the same."""
    node = docker_daemon
    pod = node.run_pod()
    container = node.run_container(pod, "sh", "-c", COUNT)
    created = node.create(pod, container_config("never-started", "sleep", "60"))
    for gone in (container, created):
        name = node.in_engine(gone)["Name"]
        assert node.docker.request("DELETE", f"/containers{name}", force="1")[0] == 204
    status = node.wait_exit(container)
    assert status.exit_code != 0
    assert status.finished_at > 0
    code, _ = refusal(lambda: node.start_container(created))
    assert code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION)
    sandbox = node.in_engine(pod)["Name"]
    assert node.docker.request("DELETE", f"/containers{sandbox}", force="1")[0] == 204
    wait(lambda: node.pod_status(pod).state == pb.SANDBOX_NOTREADY, "the pod's end")
    started = time.monotonic()
    for each in (container, created):
        node.runtime.StopContainer(pb.StopContainerRequest(container_id=each, timeout=5))
        node.runtime.RemoveContainer(pb.RemoveContainerRequest(container_id=each))
    node.runtime.StopPodSandbox(pb.StopPodSandboxRequest(pod_sandbox_id=pod))
    node.runtime.RemovePodSandbox(pb.RemovePodSandboxRequest(pod_sandbox_id=pod))
    assert time.monotonic() - started < 20, "nothing is waited for that can't come"
    assert list(node.runtime.ListPodSandbox(pb.ListPodSandboxRequest()).items) == []


def test_what_vanishes_while_we_are_away(docker_daemon: DockerDaemon) -> None:
    node = docker_daemon
    pod = node.run_pod(host_network=True)
    container = node.run_container(pod, "sh", "-c", COUNT)
    node.kill()
    for each in node.docker.container_ids():
        node.docker.request("DELETE", f"/containers/{each}", force="1")
    node.start()
    assert node.status(container).state == pb.CONTAINER_EXITED
    assert node.pod_status(pod).state == pb.SANDBOX_NOTREADY


def test_others_containers_are_neither_listed_nor_touched(docker_daemon: DockerDaemon) -> None:
    node = docker_daemon
    body = {"Image": "localhost/podwright/hello:latest", "Cmd": ["sleep", "60"], "HostConfig": {"NetworkMode": "none"}}
    theirs = node.docker.request("POST", "/containers/create", body)[1]["Id"]
    assert node.docker.request("POST", f"/containers/{theirs}/start")[0] == 204
    pod = node.run_pod(host_network=True)
    ours = node.run_container(pod, "sleep", "60")
    assert [each.id for each in node.runtime.ListContainers(pb.ListContainersRequest()).containers] == [ours]
    assert len(node.runtime.ListPodSandbox(pb.ListPodSandboxRequest()).items) == 1
    node.restart()
    node.remove_everything()
    assert node.docker.container_ids() == [theirs]
    assert node.docker.request("GET", f"/containers/{theirs}/json")[1]["State"]["Running"]
    node.docker.request("DELETE", f"/containers/{theirs}", force="1")
    node.start()
