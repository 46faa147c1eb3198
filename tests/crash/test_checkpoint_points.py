"""SIGKILL at every door of a checkpoint: nothing stays frozen, no file is partial, no container is lost.

The runtime's checkpoint and restore are ours (tests/support/checkpoints.py), all else is real.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from podwright.criapi import api_pb2 as pb
from tests.support.checkpoints import criu_daemon, runtime_status, under_way
from tests.support.crashing import NEVER, Crashes
from tests.support.daemon import Daemon, container_config, pod_config

pytestmark = pytest.mark.root

LOOP = ("sh", "-c", "echo new > /etc/new; exec sleep 1000")
NAMES = ("one", "two")


@pytest.fixture
def crashing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, Crashes]]:
    server = criu_daemon(tmp_path_factory.mktemp("c"))
    crashes = Crashes(server)
    server.start()
    try:
        server.load_hello()
        yield server, crashes
    finally:
        if server.process is not None and server.process.poll() is not None:
            server.start()
        server.remove_everything()
    assert server.leftovers() == []


def output(daemon: Daemon) -> Path:
    return daemon.directory / "output"


def prepare_pod(daemon: Daemon) -> None:
    pod = daemon.run_pod(host_network=True)
    for name in NAMES:
        daemon.run_container(pod, *LOOP, name=name)
    shutil.rmtree(output(daemon), ignore_errors=True)
    output(daemon).mkdir(mode=0o700)


def prepare_existing(daemon: Daemon) -> None:
    prepare_pod(daemon)
    (output(daemon) / "c.tar").write_text("the one before")


def prepare_checkpoint(daemon: Daemon) -> None:
    if not output(daemon).exists():
        prepare_pod(daemon)
        do_checkpoint_pod(daemon)
        daemon.clear_pods()


def prepare_restored(daemon: Daemon) -> None:
    prepare_checkpoint(daemon)
    do_restore(daemon)


def do_checkpoint(daemon: Daemon) -> None:
    location = output(daemon) / "c.tar"
    container = min(container.id for container in daemon.containers())
    daemon.runtime.CheckpointContainer(pb.CheckpointContainerRequest(container_id=container, location=str(location)))
    assert whole(location)


def do_checkpoint_pod(daemon: Daemon) -> None:
    """What a crash after the last step has left is whole, and has to go before there is another."""
    if (output(daemon) / "checkpoint.json").exists():
        shutil.rmtree(output(daemon))
        output(daemon).mkdir(mode=0o700)
    daemon.runtime.CheckpointPod(
        pb.CheckpointPodRequest(
            pod_sandbox_id=daemon.pods()[0].id, output_path=str(output(daemon)),
            container_ids=[container.id for container in daemon.containers()],
        )
    )  # fmt: skip
    assert (output(daemon) / "checkpoint.json").exists()


def do_restore(daemon: Daemon) -> None:
    """Who has lost the answer takes down what there is, and asks again."""
    for pod in daemon.pods():
        daemon.remove_pod(pod.id)
    daemon.runtime.RestorePod(
        pb.RestorePodRequest(
            checkpoint_path=str(output(daemon)),
            config=pod_config("again", daemon.directory / "logs/again", host_network=True),
            container_configs=[container_config(name, *LOOP) for name in NAMES],
        )
    )  # fmt: skip
    assert [container.state for container in daemon.containers()] == [pb.CONTAINER_CREATED] * 2


def do_start_restored(daemon: Daemon) -> None:
    for container in daemon.containers():
        if container.state == pb.CONTAINER_CREATED:
            daemon.start_container(container.id)
        assert daemon.status(container.id).state == pb.CONTAINER_RUNNING
    assert len(daemon.containers()) == 2


def whole(archive: Path) -> bool:
    with tarfile.open(archive) as opened:
        return "config.dump" in opened.getnames() and archive.stat().st_mode & 0o777 == 0o600


def check_after_crash(daemon: Daemon) -> None:
    """Before anybody asks again."""
    assert under_way(daemon) == []
    for container in daemon.containers():
        if container.state == pb.CONTAINER_RUNNING:
            assert runtime_status(daemon, container.id) == "running", "not paused"
    files = sorted(os.listdir(output(daemon)))
    if "checkpoint.json" in files:
        assert len(files) == 3
        assert all(whole(output(daemon) / name) for name in files if name.endswith(".tar"))
    elif files:
        (file,) = files
        text = (output(daemon) / file).read_bytes()[:20]
        assert text == b"the one before" or whole(output(daemon) / file)


# A restore crosses the doors of RunPodSandbox and CreateContainer, which test_crash_points knows, among its own: so
# there not each is tried.
Verb = tuple[str, Callable[[Daemon], None], Callable[[Daemon], None], int]
VERBS: list[Verb] = [
    ("checkpoint", prepare_existing, do_checkpoint, 1),
    ("checkpoint-pod", prepare_pod, do_checkpoint_pod, 1),
    ("restore", prepare_checkpoint, do_restore, 5),
    ("start-restored", prepare_restored, do_start_restored, 2),
]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_killed_at_every_door(crashing: tuple[Daemon, Crashes], verb: Verb) -> None:
    daemon, crashes = crashing
    _name, prepare, act, step = verb
    prepare(daemon)
    crashes.arm(NEVER)
    act(daemon)
    doors = crashes.disarm()
    take_down(daemon)
    assert doors > 5
    crossings, died = range(1, doors + 1, step), 0
    for crossing in crossings:
        prepare(daemon)
        crashes.arm(crossing)
        if crashes.dies(lambda: act(daemon)):
            crashes.reap()
            daemon.start()
            died += 1
            check_after_crash(daemon)
            act(daemon)
        take_down(daemon)
    assert died > len(crossings) // 2


def take_down(daemon: Daemon) -> None:
    daemon.clear_pods()
    assert daemon.containers() == []
    restores = daemon.root / "restores"
    assert not restores.exists() or list(restores.iterdir()) == []
