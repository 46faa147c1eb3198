"""Logs: every message once, whatever happens to us, to Docker, and to the file."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from podwright.criapi import api_pb2 as pb
from podwright.wire.cri_log import LogJoiner, LogReader
from tests.support.daemon import container_config
from tests.support.docker_daemon import DockerDaemon, serving_docker

pytestmark = pytest.mark.root

COUNT = 20_000
# Lines of both streams, numbered, without a pause but for every thousandth.
TALK = (
    f"i=0; while [ $i -lt {COUNT} ]; do echo out $i; echo err $i >&2; i=$((i+1)); "
    "[ $((i % 1000)) = 0 ] && sleep 0.05; done; exec sleep 1000"
)


def lines(*files: Path) -> dict[str, list[str]]:
    """What was written, by stream, over all files in order; every line of them must be one of a log."""
    reader, joiner = LogReader(), LogJoiner()
    found: dict[str, list[str]] = {"stdout": [], "stderr": []}
    for file in files:
        for entry in joiner.add(reader.feed(file.read_bytes())):
            found[entry.stream].append(entry.content.decode())
    assert reader.malformed == 0
    return found


def assert_each_once(*files: Path) -> None:
    found = lines(*files)
    assert found["stdout"] == [f"out {i}" for i in range(COUNT)]
    assert found["stderr"] == [f"err {i}" for i in range(COUNT)]


def kept_by_docker(daemon: DockerDaemon, container: str) -> dict[str, list[str]]:
    """Docker's own log, by stream."""
    found: dict[str, list[str]] = {"stdout": [], "stderr": []}
    for line in Path(daemon.in_engine(container)["LogPath"]).read_text().splitlines():
        message = json.loads(line)
        found[message["stream"]].append(message["log"].removesuffix("\n"))
    return found


def size_of(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def wait_growth(daemon: DockerDaemon, log: Path) -> None:
    size = size_of(log)
    daemon.wait_until(lambda: size_of(log) > size + 20_000, 60)


def test_no_message_is_lost_or_doubled_when_we_are_killed(own_daemon: DockerDaemon) -> None:
    """kill -9 in the middle of output, several times, once between the renaming and the reopening of a rotation."""
    daemon = own_daemon
    pod = daemon.run_pod(host_network=True)
    container = daemon.run_container(pod, "sh", "-c", TALK)
    log = Path(daemon.status(container).log_path)
    rotated = [log.with_name(f"{log.name}.{n}") for n in (1, 2)]
    for turn in range(4):
        wait_growth(daemon, log)
        if turn == 1:
            log.rename(rotated[0])
            daemon.runtime.ReopenContainerLog(pb.ReopenContainerLogRequest(container_id=container))
            daemon.wait_until(lambda: size_of(log) > 0)
        if turn == 2:
            log.rename(rotated[1])  # and dies before it hears of it
        daemon.kill()
        if turn == 3:
            with log.open("ab") as file:
                file.write(b"2026-01-01T00:00:00.00")  # a line that was being written
        daemon.start()
    daemon.wait_until(lambda: log.exists() and f" err {COUNT - 1}\n" in log.read_text(), 60)
    daemon.wait_until(lambda: f" out {COUNT - 1}\n" in log.read_text())
    assert_each_once(*rotated, log)


def test_output_while_we_are_away_and_an_end_that_we_did_not_see(own_daemon: DockerDaemon) -> None:
    daemon = own_daemon
    pod = daemon.run_pod(host_network=True)
    container = daemon.run_container(pod, "sh", "-c", "sleep 1; for i in 1 2 3; do echo $i; done; printf end; exit 7")
    daemon.kill()
    time.sleep(2)  # noqa: TID251 - it is to end meanwhile
    daemon.start()
    status = daemon.status(container)
    assert (status.state, status.exit_code, status.reason) == (pb.CONTAINER_EXITED, 7, "Error")
    assert lines(Path(status.log_path))["stdout"] == ["1", "2", "3"]
    assert Path(status.log_path).read_text().endswith(" stdout P end\n")
    assert os.stat(status.log_path).st_mode & 0o777 == 0o640


def test_long_lines_terminals_and_last_words(daemon: DockerDaemon) -> None:
    """All is in the file before the container is said to have ended."""
    pod = daemon.run_pod(host_network=True)
    script = "head -c 100000 /dev/zero | tr '\\0' x; echo; echo y; printf z"
    for tty in (False, True):
        config = container_config(f"main{int(tty)}", "sh", "-c", script)
        config.tty = tty
        container = daemon.create(pod, config)
        daemon.start_container(container)
        log = Path(daemon.wait_exit(container).log_path)
        end = "\r" if tty else ""
        assert lines(log)["stdout"] == ["x" * 100000 + end, "y" + end]
        assert log.read_text().endswith(" stdout P z\n")
        assert log.read_text().count(" stdout P x") == 6


def test_docker_can_be_restarted_under_output(daemon_of_own_dockerd: DockerDaemon) -> None:
    """With live restore containers run on; what they write meanwhile waits in their pipes.

    What Docker itself drops when it stops nobody has: we have all that it has, each message once.
    """
    daemon = daemon_of_own_dockerd
    pod = daemon.run_pod(host_network=True)
    container = daemon.run_container(pod, "sh", "-c", TALK)
    log = Path(daemon.status(container).log_path)
    wait_growth(daemon, log)
    daemon.docker.restart()
    daemon.wait_until(lambda: f" err {COUNT - 1}\n" in log.read_text(), 60)
    daemon.wait_until(lambda: f" out {COUNT - 1}\n" in log.read_text())
    assert lines(log) == kept_by_docker(daemon, container)
    assert daemon.status(container).state == pb.CONTAINER_RUNNING
    assert daemon.exec(container, "echo", "well").stdout == b"well\n"


def test_output_that_comes_later_than_the_end(shared_docker_daemon: DockerDaemon, tmp_path: Path) -> None:
    """Docker may be slow to hand out what it has; a removal waits for it, and so does a restart of ours."""
    slow = DockerDaemon(tmp_path, shared_docker_daemon.docker, config="log_drain_timeout_s = 0.0\n")
    with serving_docker(slow) as daemon:
        pod = daemon.run_pod(host_network=True)
        script = f"i=0; while [ $i -lt {COUNT} ]; do echo $i; i=$((i+1)); done"
        expected = [str(i) for i in range(COUNT)]
        first = daemon.run_container(pod, "sh", "-c", script, name="first")
        log = Path(daemon.wait_exit(first, 60).log_path)
        daemon.kill()
        daemon.start()
        daemon.wait_until(lambda: lines(log)["stdout"] == expected, 60)
        second = daemon.run_container(pod, "sh", "-c", script, name="second")
        log = Path(daemon.wait_exit(second, 60).log_path)
        daemon.remove_container(second)
        assert lines(log)["stdout"] == expected
