"""What is gone from the engine when we come back: nobody takes it for running, and it can be stopped and removed."""

from __future__ import annotations

from podwright.criapi import api_pb2 as pb
from tests.support.daemon import HELLO, container_config
from tests.support.docker_daemon import DockerDaemon
from tests.support.images import find, refusal


def test_what_vanishes_while_we_are_away(own_daemon: DockerDaemon) -> None:
    daemon = own_daemon
    pod = daemon.run_pod(host_network=True)
    running = daemon.run_container(pod, "sleep", "60", name="running")
    created = daemon.create(pod, container_config("created", "sleep", "60"))
    daemon.kill()
    for name in daemon.in_docker():
        assert daemon.docker.request("DELETE", f"/containers{name}", force="1")[0] == 204
    daemon.start()
    assert daemon.status(running).state == pb.CONTAINER_EXITED
    assert daemon.status(running).finished_at > 0
    assert daemon.pod_status(pod).state == pb.SANDBOX_NOTREADY
    refusal(lambda: daemon.start_container(created))
    for each in (running, created):
        daemon.stop_container(each)
        daemon.remove_container(each)
    daemon.runtime.StopPodSandbox(pb.StopPodSandboxRequest(pod_sandbox_id=pod))
    daemon.runtime.RemovePodSandbox(pb.RemovePodSandboxRequest(pod_sandbox_id=pod))
    assert daemon.in_docker() == []


def test_an_image_that_vanishes(daemon: DockerDaemon) -> None:
    """By `docker rmi`, between the pull and the container: the kubelet is told what is missing."""
    found = find(daemon, HELLO)
    assert found is not None
    pod = daemon.run_pod(host_network=True)
    daemon.docker.request("DELETE", f"/images/{found.id}", force="1")
    assert find(daemon, HELLO) is None
    code, words = refusal(lambda: daemon.create(pod, container_config("main", "sleep", "60", image=found.id)))
    assert f"image '{found.id}' is not here: pull it first" in words
    assert code.name == "NOT_FOUND"
    daemon.load_hello()
