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
