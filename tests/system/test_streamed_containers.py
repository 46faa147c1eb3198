"""Exec, attach and port-forward of real containers when the daemon dies, restarts, or stops them in the middle."""

from __future__ import annotations

import os
import subprocess  # noqa: TID251 - tests talk to the daemon as people do
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from podwright.criapi import api_pb2 as pb
from tests.support.command_line import CommandLine
from tests.support.daemon import Daemon, container_config
from tests.support.remote import Terminal, argv, piped

pytestmark = pytest.mark.root

# Where the runtime plays no part.
crun_only = pytest.mark.parametrize("daemon_runtime", ["crun"])


@pytest.fixture
def podwright(daemon: Daemon, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(daemon.socket, capfd, monkeypatch)


def wait_until(condition: Callable[[], object], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)  # noqa: TID251 - no event loop here


def processes(daemon: Daemon, container: str) -> int:
    """How many there are in the container."""
    pids = next(Path("/sys/fs/cgroup").glob(f"memory/{daemon.cgroup_parent}/**/*{container}*/cgroup.procs"), None)
    found = pids or next(Path("/sys/fs/cgroup").glob(f"{daemon.cgroup_parent}/**/*{container}*/cgroup.procs"))
    return len(found.read_text().split())


def listening(daemon: Daemon, container: str, words: str) -> None:
    """Wait until the executed command has written `words` to the container's /tmp/says."""
    wait_until(lambda: words in daemon.exec(container, "sh", "-c", "cat /tmp/says 2>/dev/null; true").stdout.decode())


@pytest.mark.parametrize(("command", "terminal"), [("cat", True), ("trap '' HUP PIPE; sleep 1000; sleep 1000", False)])
def test_nothing_is_left_of_an_exec_when_the_daemon_dies(
    daemon: Daemon, podwright: CommandLine, command: str, terminal: bool
) -> None:
    container = daemon.run_container(daemon.run_pod(), "sleep", "1000")
    before = processes(daemon, container)
    script = f"echo running >/tmp/says; {command}"
    if terminal:
        with closing(Terminal(podwright, "exec", "-it", container, "sh", "-c", script)):
            listening(daemon, container, "running")
            daemon.kill()
    else:
        words = argv(podwright, "exec", "-i", container, "sh", "-c", script)
        client = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        listening(daemon, container, "running")
        daemon.kill()
        client.communicate(timeout=20)
    daemon.start()
    wait_until(lambda: processes(daemon, container) == before)
    assert list((daemon.run / "runtime" / ".exec").iterdir()) == []
    assert piped(podwright, "exec", container, "echo", "works") == (0, b"works\n", b"")


@pytest.mark.parametrize("how", ["stop", "kill"])
@crun_only
def test_attach_works_again_after_a_restart(daemon: Daemon, podwright: CommandLine, how: str) -> None:
    config = container_config("main", "sh", "-c", "while read line; do echo got $line; done")
    config.stdin = True
    container = daemon.create(daemon.run_pod(), config)
    daemon.start_container(container)
    for number in range(2):
        client = subprocess.Popen(
            argv(podwright, "attach", "-i", container), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(b"%d\n" % number)
        assert client.stdout.readline() == b"got %d\n" % number
        if number == 0:
            (daemon.stop if how == "stop" else daemon.kill)()
            daemon.start()
        else:
            daemon.stop_container(container)
        client.communicate(timeout=20)
    assert daemon.status(container).state == pb.CONTAINER_EXITED


@crun_only
def test_stopping_the_daemon_ends_what_is_executed(daemon: Daemon, podwright: CommandLine) -> None:
    container = daemon.run_container(daemon.run_pod(), "sleep", "1000")
    before = processes(daemon, container)
    words = argv(podwright, "exec", "-i", container, "sh", "-c", "trap '' HUP; echo running >/tmp/says; sleep 1000")
    client = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    listening(daemon, container, "running")
    assert daemon.stop() == 0
    assert processes(daemon, container) == before
    _, said = client.communicate(timeout=20)
    assert client.returncode != 0
    assert said
    daemon.start()


def test_stopping_the_container_ends_what_is_executed(daemon: Daemon, podwright: CommandLine) -> None:
    container = daemon.run_container(daemon.run_pod(), "sleep", "1000")
    words = argv(podwright, "exec", "-i", container, "sh", "-c", "echo running >/tmp/says; sleep 1000")
    client = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    listening(daemon, container, "running")
    daemon.stop_container(container)
    client.communicate(timeout=20)
    assert client.returncode == 137


@crun_only
def test_a_pods_ports_are_not_forwarded_after_its_end(daemon: Daemon, podwright: CommandLine) -> None:
    pod = daemon.run_pod()
    daemon.stop_pod(pod)
    code, _, said = piped(podwright, "port-forward", pod, ":80")
    assert code != 0
    assert b"not ready" in said


@crun_only
def test_many_execs_leave_the_daemon_as_it_was(daemon: Daemon, podwright: CommandLine) -> None:
    container = daemon.run_container(daemon.run_pod(), "sleep", "1000")
    assert daemon.process is not None
    descriptors = Path(f"/proc/{daemon.process.pid}/fd")
    assert piped(podwright, "exec", container, "echo")[0] == 0
    before = len(os.listdir(descriptors))
    for _ in range(5):
        assert piped(podwright, "exec", "-i", container, "cat", stdin=b"x") == (0, b"x", b"")
    wait_until(lambda: len(os.listdir(descriptors)) <= before)
