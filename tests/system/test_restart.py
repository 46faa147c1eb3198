"""What a restart of the daemon must not change: containers, addresses, exit codes, waits."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess  # noqa: TID251 - a second daemon, as a person would start it
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from podwright.criapi import api_pb2 as pb
from podwright.linux import mounts
from tests.support.daemon import HELLO, WITH_SHIM, Daemon, container_config

pytestmark = pytest.mark.root


def test_pods_and_containers_survive(daemon: Daemon) -> None:
    pod = daemon.run_pod("survivor", labels={"a": "b"})
    container = daemon.run_container(pod, "sh", "-c", "i=0; while true; do echo $i; i=$((i+1)); sleep 0.1; done")
    created = daemon.create(pod, container_config("later", "sleep", "1000"))
    before = daemon.pod_status(pod), daemon.status(container), daemon.status(created)
    daemon.restart()
    assert (daemon.pod_status(pod), daemon.status(container), daemon.status(created)) == before
    assert daemon.exec(container, "echo", "still here").stdout == b"still here\n"
    daemon.start_container(created)
    daemon.stop_container(container, 0)
    assert daemon.status(container).exit_code == 137
    lines = Path(daemon.status(container).log_path).read_text().splitlines()
    numbers = [int(line.split(" ", 3)[3]) for line in lines]
    assert numbers == list(range(len(numbers))), "no line was lost while the daemon was away"


@WITH_SHIM
def test_an_end_while_the_daemon_was_away_is_known_before_the_socket_answers(daemon: Daemon) -> None:
    pod = daemon.run_pod(host_network=True)
    codes = {0: "Completed", 9: "Error"}
    containers = {
        code: daemon.run_container(pod, "sh", "-c", f"sleep 1; exit {code}", name=f"c{code}") for code in codes
    }
    daemon.kill()
    time.sleep(1.8)  # noqa: TID251 - the containers end meanwhile
    daemon.start()
    for code, container in containers.items():
        status = daemon.status(container)
        assert (status.state, status.exit_code, status.reason) == (pb.CONTAINER_EXITED, code, codes[code])
        assert status.finished_at < time.time_ns() - 500_000_000, "the time of the end, not of the restart"


def test_a_monitor_that_dies_is_noticed(daemon: Daemon) -> None:
    pod = daemon.run_pod(host_network=True)
    container = daemon.run_container(pod, "sleep", "1000")
    info = daemon.runtime.ContainerStatus(pb.ContainerStatusRequest(container_id=container, verbose=True)).info["info"]
    os.kill(json.loads(info)["monitorPid"], signal.SIGKILL)
    time.sleep(0.3)  # noqa: TID251 - nothing to wait for: the container must go on
    assert daemon.status(container).state == pb.CONTAINER_RUNNING, "the container itself lives"
    daemon.stop_container(container, 0)
    status = daemon.status(container)
    assert (status.state, status.exit_code) == (pb.CONTAINER_EXITED, 255)
    assert "monitor" in status.message


def test_a_bad_record_is_set_aside_and_the_rest_serves(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod(host_network=True)
    crun_daemon.stop()
    database = sqlite3.connect(crun_daemon.root / "state.db")
    database.execute("INSERT INTO sandboxes VALUES ('broken', '{')")
    database.execute("INSERT INTO containers VALUES ('broken', 'nonsense')")
    database.commit()
    database.close()
    crun_daemon.start()
    assert [item.id for item in crun_daemon.pods()] == [pod]
    assert "a bad record was set aside" in crun_daemon.log_tail()


def test_after_a_reboot_everything_has_ended_and_can_be_removed(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod("old")
    container = crun_daemon.run_container(pod, "sleep", "1000")
    ip = crun_daemon.pod_status(pod).network.ip
    crun_daemon.stop_container(container, 0)
    other = crun_daemon.create(pod, container_config("other", "sleep", "1000"))
    crun_daemon.stop()
    # What a boot does: another boot id in the records' eyes. The processes are ended by hand.
    database = sqlite3.connect(crun_daemon.root / "state.db")
    for table in ("sandboxes", "containers"):
        for key, record in database.execute(f"SELECT key, record FROM {table}").fetchall():
            text = record.decode() if isinstance(record, bytes) else record
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            changed = text.replace(boot, "00000000-0000-0000-0000-000000000000")
            database.execute(f"UPDATE {table} SET record = ? WHERE key = ?", (changed.encode(), key))
    database.commit()
    database.close()
    crun_daemon.start()
    assert crun_daemon.pod_status(pod).state == pb.SANDBOX_NOTREADY
    assert crun_daemon.pod_status(pod).network.ip == ip
    assert crun_daemon.status(other).state == pb.CONTAINER_EXITED
    crun_daemon.remove_pod(pod)
    assert crun_daemon.leftovers() == []


def test_a_second_daemon_on_the_same_root_is_refused(crun_daemon: Daemon) -> None:
    second = subprocess.run(
        [
            sys.executable, "-m", "podwright", "serve", "--config", str(crun_daemon.config),
            "--root", str(crun_daemon.root), "--run", str(crun_daemon.run), "--socket", str(crun_daemon.run / "2.sock"),
        ],
        capture_output=True, check=False, timeout=30,
    )  # fmt: skip
    assert second.returncode == 1
    words = (second.stderr + second.stdout).decode()
    assert "another daemon" in words
    assert "--root" in words
    assert crun_daemon.pods() == [], "the first one is not disturbed"


def test_a_container_that_nobody_can_read_leaves_no_files(crun_daemon: Daemon) -> None:
    """Its record is set aside; what it had on disk, an image volume's layers among it, goes, also after a boot."""
    daemon = crun_daemon
    volume = pb.Mount(container_path="/volume", image=pb.ImageSpec(image=HELLO), readonly=True)
    pod = daemon.run_pod(host_network=True)
    container = daemon.run_container(pod, "sh", "-c", "exit 0", mounts=[volume])
    daemon.wait_exit(container)
    snapshots = daemon.root / "snapshots/containers"
    assert len(list(snapshots.iterdir())) == 2
    daemon.kill()
    with closing(sqlite3.connect(daemon.root / "state.db")) as database, database:
        database.execute("UPDATE containers SET record = x'00' WHERE key = ?", (container,))
    mounts.unmount_tree(daemon.run / "containers")
    mounts.unmount_tree(daemon.run / "image-volumes")
    for place in ("containers", "image-volumes"):
        shutil.rmtree(daemon.run / place)
    daemon.start()
    assert daemon.containers() == []
    assert list(snapshots.iterdir()) == []
