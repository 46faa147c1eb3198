"""A node on which ten thousand containers have been: lists are whole, streams come in pieces, and a start is quick.

The records are copies of one real pod's: running as many would take an hour.
"""

from __future__ import annotations

import json
import sqlite3
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import closing

import pytest

from podwright.criapi import api_pb2 as pb
from tests.support.daemon import Daemon

pytestmark = pytest.mark.root

PODS, EACH = 1000, 10
KUBELET_LIMIT_BYTES = 16 << 20


def copies(daemon: Daemon, pod: str, container: str) -> Iterator[tuple[str, str, bytes]]:
    """Table, key and record of each."""
    with closing(sqlite3.connect(daemon.root / "state.db")) as database:
        records = {
            table: json.loads(database.execute(f"SELECT record FROM {table} WHERE key = ?", (key,)).fetchone()[0])
            for table, key in (("sandboxes", pod), ("containers", container))
        }
    sandbox = pb.PodSandboxConfig.FromString(b64decode(records["sandboxes"]["config"]))
    config = pb.ContainerConfig.FromString(b64decode(records["containers"]["config"]))
    for number in range(PODS):
        pod = f"{number:064x}"
        sandbox.metadata.name = f"pod{number}"
        changes = {"id": pod, "config": b64encode(sandbox.SerializeToString()).decode()}
        yield "sandboxes", pod, json.dumps(records["sandboxes"] | changes).encode()
        for attempt in range(EACH):
            key = f"{number + PODS:060x}{attempt:04x}"
            config.metadata.attempt = attempt
            changes = {"id": key, "sandbox_id": pod, "config": b64encode(config.SerializeToString()).decode()}
            yield "containers", key, json.dumps(records["containers"] | changes).encode()


def test_ten_thousand_containers(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod(host_network=True)
    container = crun_daemon.run_container(pod, "sh", "-c", "exit 3", annotations={"io.kubernetes/x": "y" * 2000})
    crun_daemon.wait_exit(container)
    crun_daemon.stop_pod(pod)
    made = list(copies(crun_daemon, pod, container))
    keys = {kind: {key for table, key, _ in made if table == kind} for kind in ("sandboxes", "containers")}
    crun_daemon.stop()
    with closing(sqlite3.connect(crun_daemon.root / "state.db")) as database, database:
        for table, key, record in made:
            database.execute(f"INSERT INTO {table} VALUES (?, ?)", (key, record))
    crun_daemon.start()

    assert {item.id for item in crun_daemon.pods()} == {pod} | keys["sandboxes"]
    assert {item.id for item in crun_daemon.containers()} == {container} | keys["containers"]
    answers = list(crun_daemon.runtime.StreamContainers(pb.StreamContainersRequest()))
    streamed = [item.id for answer in answers for item in answer.containers]
    assert sorted(streamed) == sorted({container} | keys["containers"])
    assert sum(answer.ByteSize() for answer in answers) > KUBELET_LIMIT_BYTES
    assert max(answer.ByteSize() for answer in answers) < KUBELET_LIMIT_BYTES / 8
    last = f"{PODS - 1:064x}"
    wanted = pb.ContainerFilter(pod_sandbox_id=last, state=pb.ContainerStateValue(state=pb.CONTAINER_EXITED))
    found = crun_daemon.runtime.ListContainers(pb.ListContainersRequest(filter=wanted)).containers
    assert sorted(item.metadata.attempt for item in found) == list(range(EACH))
    assert crun_daemon.status(found[0].id).exit_code == 3
    crun_daemon.remove_pod(last)
    assert not crun_daemon.runtime.ListContainers(pb.ListContainersRequest(filter=wanted)).containers

    crun_daemon.stop()
    with closing(sqlite3.connect(crun_daemon.root / "state.db")) as database, database:
        for table, key, _ in made:
            database.execute(f"DELETE FROM {table} WHERE key = ?", (key,))
    crun_daemon.start()
