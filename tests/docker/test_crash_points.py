"""SIGKILL at every door, on a Docker Engine: after a restart the same call succeeds, and nothing is left.

A door is what the daemon does to the machine, the store, or the engine; `tests/crash` does the same to the native one.
To end in time only every tenth is tried; PODWRIGHT_CRASH_STRIDE=1 tries all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from podwright.criapi import api_pb2 as pb
from tests.support.crashing import NEVER, Crashes
from tests.support.daemon import container_config, pod_config
from tests.support.docker_daemon import DockerDaemon

pytestmark = pytest.mark.root

STRIDE = int(os.environ.get("PODWRIGHT_CRASH_STRIDE", "10"))


@pytest.fixture
def crashes(shared_docker_daemon: DockerDaemon, tmp_path: Path) -> Iterator[tuple[DockerDaemon, Crashes]]:
    daemon = DockerDaemon(tmp_path, shared_docker_daemon.docker)
    crashes = Crashes(daemon)
    daemon.start()
    try:
        daemon.load_hello()
        yield daemon, crashes
    finally:
        if crashes.is_dead():
            daemon.start()
        daemon.remove_everything()
    assert daemon.leftovers() == []
    assert daemon.in_docker() == []


def run(daemon: DockerDaemon) -> str:
    config = pod_config("crash", daemon.directory / "logs")
    pod = str(daemon.runtime.RunPodSandbox(pb.RunPodSandboxRequest(config=config)).pod_sandbox_id)
    assert daemon.pod_status(pod).network.ip
    return pod


def create(daemon: DockerDaemon) -> None:
    daemon.create(daemon.pods()[0].id, container_config("main", "sleep", "1000"))
    assert len(daemon.containers()) == 1


def start(daemon: DockerDaemon) -> None:
    container = daemon.containers()[0].id
    if daemon.status(container).state == pb.CONTAINER_CREATED:
        daemon.start_container(container)
    assert daemon.status(container).state == pb.CONTAINER_RUNNING
    assert daemon.exec(container, "echo", "well").stdout == b"well\n"


def stop(daemon: DockerDaemon) -> None:
    container = daemon.containers()[0].id
    daemon.stop_container(container)
    status = daemon.status(container)
    assert (status.state, status.exit_code) == (pb.CONTAINER_EXITED, 137), "the exit code is not lost"


def remove(daemon: DockerDaemon) -> None:
    for container in daemon.containers():
        daemon.remove_container(container.id)
    assert daemon.containers() == []


def remove_pod(daemon: DockerDaemon) -> None:
    for pod in daemon.pods():
        daemon.remove_pod(pod.id)
    assert daemon.pods() == []


def nothing(_daemon: DockerDaemon) -> None:
    return


def created(daemon: DockerDaemon) -> None:
    run(daemon)
    create(daemon)


def running(daemon: DockerDaemon) -> None:
    created(daemon)
    start(daemon)


Step = Callable[[DockerDaemon], object]
VERBS: list[tuple[str, Step, Step]] = [
    ("run", nothing, run),
    ("create", run, create),
    ("start", created, start),
    ("stop", running, stop),
    ("remove", running, remove),
    ("remove-pod", running, remove_pod),
]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_killed_at_every_door(crashes: tuple[DockerDaemon, Crashes], verb: tuple[str, Step, Step]) -> None:
    daemon, crash = crashes
    _, prepare, act = verb
    prepare(daemon)
    crash.arm(NEVER)
    act(daemon)
    doors = crash.disarm()
    daemon.clear_pods()
    assert doors > 0
    for crossing in range(1, doors + 1, STRIDE):
        prepare(daemon)
        crash.arm(crossing)
        if crash.dies(lambda: act(daemon)):
            crash.reap()
            daemon.start()
            act(daemon)
        daemon.clear_pods()
        assert daemon.in_docker() == []
