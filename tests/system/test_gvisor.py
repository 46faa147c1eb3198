"""Pods in gVisor, with Debian's runsc: one sentry a pod, and everything a container is asked for in it."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from podwright.criapi import api_pb2 as pb
from tests.support.daemon import Daemon, container_config, serving
from tests.support.images import refusal

pytestmark = pytest.mark.root

ECHO_HTTP = r"while true; do printf 'HTTP/1.0 200 OK\r\n\r\nfrom the sentry\n' | nc -l -p 8080 >/dev/null; done"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with serving(Daemon(tmp_path, runtime="crun")) as server:
        yield server


@pytest.fixture
def reaped() -> Iterator[None]:
    """Orphans of an earlier daemon are reaped, as init does; they come to this process, for it is their subreaper."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGCHLD, before)


def sentry_of(daemon: Daemon, pod: str) -> int:
    """The pid of the pod's sentry."""
    state = daemon.run / f"runtime/runsc/{pod}_sandbox:{pod}.state"
    return int(json.loads(state.read_bytes())["sandbox"]["pid"])


def test_a_pod_in_one_sentry(reaped: None, daemon: Daemon) -> None:
    """Two containers, their logs, exit codes, exec, network, and a restart of the daemon between."""
    handlers = {h.name for h in daemon.runtime.Status(pb.StatusRequest()).runtime_handlers}
    assert handlers == {"", "crun", "runc", "runsc"}
    pod = daemon.run_pod(handler="runsc")
    server = daemon.run_container(pod, "sh", "-c", ECHO_HTTP, name="server")
    short = daemon.run_container(pod, "sh", "-c", "echo out; echo err >&2; sleep 0.2; exit 7", name="short")
    assert daemon.wait_exit(short).exit_code == 7
    log = daemon.wait_log(short, "err").read_text()
    assert " stdout F out" in log
    assert " stderr F err" in log

    done = daemon.exec(server, "sh", "-c", "dmesg; hostname; echo no >&2; exit 3")
    assert b"gVisor" in done.stdout, "the kernel that answers is gVisor's"
    assert done.stdout.splitlines()[-1] == b"pod"
    assert (done.stderr, done.exit_code) == (b"no\n", 3)

    daemon.restart()
    assert daemon.status(server).state == pb.CONTAINER_RUNNING
    with socket.create_connection((daemon.pod_status(pod).network.ip, 8080), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = connection.makefile("rb")
        assert [answer.readline() for _ in range(3)][-1] == b"from the sentry\n"

    daemon.stop_container(server, grace=0)
    assert daemon.wait_exit(server).exit_code == 137
    assert daemon.pod_status(pod).state == pb.SANDBOX_READY
    daemon.remove_container(server)
    created = daemon.create(pod, container_config("late", "sleep", "1000"))
    daemon.stop_pod(pod)
    assert daemon.status(created).state == pb.CONTAINER_EXITED
    daemon.remove_pod(pod)
    assert daemon.leftovers() == []


def test_the_sentry_is_killed(daemon: Daemon) -> None:
    """Its pod ends, with a reason; the other one goes on."""
    pods = [daemon.run_pod(name, handler="runsc") for name in ("one", "two")]
    one, two = (daemon.run_container(pod, "sleep", "1000") for pod in pods)
    os.kill(sentry_of(daemon, pods[0]), signal.SIGKILL)
    status = daemon.wait_exit(one)
    assert (status.exit_code, status.reason) == (137, "Error")
    assert "sentry" in status.message
    daemon.wait_until(lambda: daemon.pod_status(pods[0]).state == pb.SANDBOX_NOTREADY)
    request = pb.PodSandboxStatusRequest(pod_sandbox_id=pods[0], verbose=True)
    assert "sandbox container" in json.loads(daemon.runtime.PodSandboxStatus(request).info["info"])["endedBecause"]
    assert daemon.pod_status(pods[1]).state == pb.SANDBOX_READY
    assert daemon.exec(two, "echo", "here").stdout == b"here\n"


def test_an_exec_that_takes_too_long(daemon: Daemon) -> None:
    """What it started is gone from the sentry, not only who waited for it."""
    container = daemon.run_container(daemon.run_pod(handler="runsc"), "sleep", "1000")
    code, _ = refusal(lambda: daemon.exec(container, "sh", "-c", "sleep 4321 & sleep 4321", timeout=1))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert b"4321" not in daemon.exec(container, "ps").stdout


def test_the_hosts_namespaces_are_not_to_be_had(daemon: Daemon) -> None:
    code, words = refusal(lambda: daemon.run_pod(handler="runsc", host_network=True))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "kernel of their own" in words


def test_a_command_that_is_not_there(daemon: Daemon) -> None:
    pod = daemon.run_pod(handler="runsc")
    code, words = refusal(lambda: daemon.run_container(pod, "/nowhere"))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "/nowhere" in words
    (container,) = daemon.containers()
    status = daemon.status(container.id)
    assert (status.reason, status.exit_code) == ("StartError", 128)
