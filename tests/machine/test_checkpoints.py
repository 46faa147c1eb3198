"""CheckpointContainer, CheckpointPod and RestorePod with a real CRIU, on the kernel that Debian has it for."""

from __future__ import annotations

import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from podwright.criapi import api_pb2 as pb
from tests.machine.test_systemd import cgroup, run_pod
from tests.support.daemon import Daemon, container_config, pod_config, serving

pytestmark = pytest.mark.root

COUNTS = "n=0; while true; do n=$((n+1)); echo $n > /count; echo at $n; sleep 0.1; done"


def count(daemon: Daemon, container: str) -> int:
    return int(daemon.exec(container, "cat", "/count", timeout=60).stdout or b"0")


def wait_beyond(daemon: Daemon, container: str, number: int) -> None:
    deadline = time.monotonic() + 60
    while count(daemon, container) <= number:
        assert time.monotonic() < deadline, "it stands still"


@pytest.fixture(params=["runc", "shim"])
def restoring(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    config = "[checkpoint]\nrestore = true\n"
    server = Daemon(tmp_path_factory.mktemp("d"), runtime=request.param, cgroup_driver="auto", cni=False, config=config)
    with serving(server):
        yield server


def test_counter_goes_on(restoring: Daemon, tmp_path: Path) -> None:
    daemon = restoring
    pod = run_pod(daemon)
    container = daemon.run_container(pod, "sh", "-c", COUNTS)
    daemon.wait_log(container, "at 3", timeout_s=60)
    assert cgroup(daemon, container).name == f"podwright-{container}.scope", "the shim's runc is told of systemd"
    location = tmp_path / "c.tar"
    daemon.runtime.CheckpointContainer(pb.CheckpointContainerRequest(container_id=container, location=str(location)))
    wait_beyond(daemon, container, count(daemon, container))
    with tarfile.open(location) as archive:
        names = archive.getnames()
    assert "checkpoint/inventory.img" in names
    assert "stats-dump" in names
    assert restored_count(daemon, pod, container, tmp_path / "pod") > 3


def dumping() -> bool:
    """Whether a runtime has CRIU at work: `criu check`, which comes before, is another matter."""
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"criu\0swrk\0" in line.read_bytes():
                return True
        except OSError:
            pass  # it ended meanwhile
    return False


@pytest.mark.parametrize("restoring", ["runc"], indirect=True)  # once: a start is dear here
def test_the_daemon_is_killed_while_criu_dumps(restoring: Daemon, tmp_path: Path) -> None:
    """The next one ends it and thaws: the counter goes on, nothing partial stays, and a checkpoint succeeds."""
    daemon, location = restoring, tmp_path / "c.tar"
    container = daemon.run_container(run_pod(daemon), "sh", "-c", COUNTS)
    daemon.wait_log(container, "at 3", timeout_s=60)
    request = pb.CheckpointContainerRequest(container_id=container, location=str(location))
    call = daemon.runtime.CheckpointContainer.future(request)
    deadline = time.monotonic() + 60
    while not dumping():
        assert not call.done(), "CRIU was not seen"
        assert time.monotonic() < deadline
    daemon.kill()
    daemon.start()
    assert list(tmp_path.iterdir()) == []
    assert not dumping()
    wait_beyond(daemon, container, count(daemon, container))
    daemon.runtime.CheckpointContainer(request)
    with tarfile.open(location) as archive:
        assert "checkpoint/inventory.img" in archive.getnames()


def restored_count(daemon: Daemon, pod: str, container: str, output: Path) -> int:
    """Checkpoint the pod, remove it, restore it: where the counter is when it goes on."""
    output.mkdir(mode=0o700)
    daemon.runtime.CheckpointPod(
        pb.CheckpointPodRequest(pod_sandbox_id=pod, output_path=str(output), container_ids=[container])
    )
    seen = count(daemon, container)
    daemon.remove_pod(pod)
    answer = daemon.runtime.RestorePod(
        pb.RestorePodRequest(
            checkpoint_path=str(output), config=pod_config("again", daemon.directory / "again", host_network=True),
            container_configs=[container_config("main", "sh", "-c", COUNTS)],
        )
    )  # fmt: skip
    restored = answer.restored_containers[0].container_id
    assert daemon.status(restored).state == pb.CONTAINER_CREATED
    daemon.start_container(restored)
    at = count(daemon, restored)
    wait_beyond(daemon, restored, at)
    assert at <= seen + 20, "it has not gone on where it was"
    first = daemon.wait_log(restored, "at ", timeout_s=60).read_text().split(" at ")[1]
    assert int(first.split()[0]) > 3, "it has begun anew"
    return at
