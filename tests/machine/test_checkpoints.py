"""CheckpointContainer with a real CRIU on a kernel that it knows: Debian 12's own pair."""

from __future__ import annotations

import tarfile
import time
from pathlib import Path

import pytest

from podwright.criapi import api_pb2 as pb
from tests.machine.test_systemd import run_pod
from tests.support.daemon import Daemon

pytestmark = pytest.mark.root

COUNTS = "n=0; while true; do n=$((n+1)); echo $n > /count; echo at $n; sleep 0.1; done"


def count(daemon: Daemon, container: str) -> int:
    return int(daemon.exec(container, "cat", "/count", timeout=60).stdout or b"0")


def wait_beyond(daemon: Daemon, container: str, number: int) -> None:
    deadline = time.monotonic() + 60
    while count(daemon, container) <= number:
        assert time.monotonic() < deadline, "it stands still"


@pytest.mark.parametrize("daemon", ["runc"], indirect=True)
def test_counter_is_dumped_and_goes_on(daemon: Daemon, tmp_path: Path) -> None:
    pod = run_pod(daemon)
    container = daemon.run_container(pod, "sh", "-c", COUNTS)
    daemon.wait_log(container, "at 3", timeout_s=60)
    location = tmp_path / "c.tar"
    daemon.runtime.CheckpointContainer(pb.CheckpointContainerRequest(container_id=container, location=str(location)))
    wait_beyond(daemon, container, count(daemon, container))
    with tarfile.open(location) as archive:
        names = archive.getnames()
    assert "checkpoint/inventory.img" in names
    assert "stats-dump" in names
