"""Restarts of the engine, of the daemon, of both; what others do to our containers; and others' containers."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import grpc
import pytest

from podwright.criapi import api_pb2 as pb
from tests.support.daemon import HELLO, container_config
from tests.support.docker_daemon import DockerDaemon
from tests.support.dockerd import Dockerd, running_dockerd

pytestmark = pytest.mark.root


def test_everything_goes_on_over_restarts(daemon_of_own_dockerd: DockerDaemon) -> None:
    daemon = daemon_of_own_dockerd
    pod = daemon.run_pod()
    address = daemon.pod_status(pod).network.ip
    container = daemon.run_container(pod, "sleep", "1000")
    ended = daemon.run_container(pod, "sh", "-c", "sleep 2; exit 5", name="ended")
    daemon.kill()
    daemon.docker.kill()
    daemon.docker.start()
    daemon.start()
    assert daemon.pod_status(pod).state == pb.SANDBOX_READY
    assert daemon.pod_status(pod).network.ip == address
    assert daemon.exec(container, "echo", "well").stdout == b"well\n"
    assert daemon.wait_exit(ended).exit_code == 5
    daemon.docker.stop()
    assert daemon.status(container).state == pb.CONTAINER_RUNNING, "statuses need no engine"
    conditions = {c.type: c for c in daemon.runtime.Status(pb.StatusRequest()).status.conditions}
    assert not conditions["RuntimeReady"].status
    assert "Docker" in conditions["RuntimeReady"].message
    with pytest.raises(grpc.RpcError) as refused:
        daemon.exec(container, "true")
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
    daemon.docker.start()
    daemon.stop_container(container)
    assert daemon.status(container).exit_code == 137


def test_an_engine_that_ends_its_containers_ends_the_pods(tmp_path: Path) -> None:
    """Without live restore a restart of Docker ends all containers: nobody takes them for running."""
    with running_dockerd(tmp_path / "dockerd", live_restore=False) as docker:
        directory = tmp_path / "podwright"
        directory.mkdir()
        daemon = DockerDaemon(directory, docker)
        daemon.start()
        try:
            daemon.load_hello()
            pod = daemon.run_pod(host_network=True)
            container = daemon.run_container(pod, "sleep", "1000")
            docker.restart()
            assert daemon.wait_exit(container).exit_code in (137, 143)
            daemon.wait_until(lambda: daemon.pod_status(pod).state == pb.SANDBOX_NOTREADY)
        finally:
            daemon.remove_everything()
        assert daemon.leftovers() == []


def test_containers_that_somebody_removes_or_starts_again(daemon: DockerDaemon) -> None:
    pod = daemon.run_pod(host_network=True)
    removed = daemon.run_container(pod, "sleep", "1000", name="removed")
    again = daemon.run_container(pod, "sleep", "1000", name="again")
    created = daemon.create(pod, container_config("created", "sleep", "1000"))
    docker = daemon.docker
    docker.request("DELETE", f"/containers/{daemon.in_engine(removed)['Id']}", force="1")
    docker.request("DELETE", f"/containers/{daemon.in_engine(created)['Id']}", force="1")
    docker.request("POST", f"/containers/{daemon.in_engine(again)['Id']}/restart", t="0")
    status = daemon.wait_exit(removed)
    assert status.exit_code == 137 or (status.exit_code, "removed" in status.message) == (255, True)
    assert daemon.wait_exit(again).reason == "Error"
    with pytest.raises(grpc.RpcError):
        daemon.start_container(created)
    assert daemon.status(created).reason == "StartError"
    for container in (removed, again, created):
        daemon.remove_container(container)
    assert daemon.containers() == []
    assert len(daemon.in_docker()) == 1, "the sandbox container"


def test_others_containers_are_not_seen_and_not_touched(own_daemon: DockerDaemon, daemon: DockerDaemon) -> None:
    """Neither those of people nor those of another daemon of ours on the same engine."""
    docker: Dockerd = daemon.docker
    body = {"Image": HELLO, "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "none"}}
    theirs = docker.request("POST", "/containers/create", body, name="theirs")[1]["Id"]
    docker.request("POST", f"/containers/{theirs}/start")
    neighbour = daemon.run_container(daemon.run_pod(host_network=True), "sleep", "1000")
    mine = own_daemon.run_pod(host_network=True)
    assert [pod.id for pod in own_daemon.pods()] == [mine]
    own_daemon.kill()
    own_daemon.start()
    own_daemon.clear_pods()
    assert own_daemon.pods() == own_daemon.containers() == []
    assert daemon.exec(neighbour, "echo", "well").stdout == b"well\n"
    assert docker.request("GET", f"/containers/{theirs}/json")[1]["State"]["Running"]
    docker.request("DELETE", f"/containers/{theirs}", force="1")


def test_another_backends_pods_are_not_taken_over(own_daemon: DockerDaemon) -> None:
    own_daemon.run_pod(host_network=True)
    own_daemon.stop()
    own_daemon.extra_environment["PODWRIGHT_BACKEND"] = "native"
    with pytest.raises(AssertionError, match="holds 1 pods of the docker backend"):
        own_daemon.start()
    own_daemon.extra_environment["PODWRIGHT_BACKEND"] = "docker"
    own_daemon.start()


def test_a_bad_record_is_set_aside_and_the_rest_serves(own_daemon: DockerDaemon) -> None:
    """cri-dockerd takes away a pod's checkpoint that it can't read."""
    pod = own_daemon.run_pod(host_network=True)
    container = own_daemon.run_container(pod, "sleep", "1000")
    own_daemon.stop()
    with closing(sqlite3.connect(own_daemon.root / "state.db")) as database:
        for table in ("sandboxes", "containers"):
            database.execute(f"INSERT INTO {table} VALUES ('broken', '{{')")
        database.commit()
    own_daemon.start()
    assert [item.id for item in own_daemon.pods()] == [pod]
    assert own_daemon.status(container).state == pb.CONTAINER_RUNNING
    assert own_daemon.log_tail().count("a bad record was set aside") == 2
