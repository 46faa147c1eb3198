"""One daemon, the same pod under each runtime at the same time: a RuntimeClass changes nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess  # noqa: TID251 - a program that the test starts as a person would
import urllib.request
from functools import partial
from pathlib import Path

import pytest

from podwright.criapi import api_pb2 as pb
from tests.support.command_line import CommandLine
from tests.support.daemon import Daemon
from tests.support.remote import argv
from tests.system.test_vm import machine_of

pytestmark = pytest.mark.root

HANDLERS = ("crun", "runc", "runsc", "shim", "nspawn", "vm")
# What a pod's containers live in, by a word of its command line beside the pod's or the container's id; that of
# a virtual machine names neither.
LIVES_IN = {"runsc": b"runsc-sandbox", "shim": b"containerd-shim", "vm": b""}
# Where the pod itself ends with it; elsewhere its namespaces are there for the next container.
IS_THE_POD = ("runsc", "vm")
SERVE = 'echo "$0 is up"; mkdir /tmp/w; echo "from $0" >/tmp/w/index.html; exec httpd -f -p 8080 -h /tmp/w'


def test_the_same_pod_in_each(
    reaped: None, crun_daemon: Daemon, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = crun_daemon
    podwright = CommandLine(daemon.socket, capsys, monkeypatch)
    pods = {handler: daemon.run_pod(handler, handler) for handler in HANDLERS}
    containers = {
        handler: daemon.run_container(pod, "sh", "-c", SERVE, handler, name="web") for handler, pod in pods.items()
    }
    for handler, container in containers.items():
        daemon.wait_log(container, f"{handler} is up")
    before = statuses(daemon, pods, containers)
    check_each(daemon, podwright, pods, containers)

    daemon.kill()
    daemon.start()
    assert statuses(daemon, pods, containers) == before
    check_each(daemon, podwright, pods, containers)

    for handler, word in LIVES_IN.items():
        pod, container = pods.pop(handler), containers.pop(handler)
        os.kill(what_lives(word, pod, container) if word else machine_of(daemon, pod), signal.SIGKILL)
        assert daemon.wait_exit(container).message, f"{handler}: nothing says why"
        if handler in IS_THE_POD:
            daemon.wait_until(partial(has_ended, daemon, pod))
            assert reason_of(daemon, pod), f"{handler}: nothing says why"
        check_each(daemon, podwright, pods, containers)

    for handler, container in containers.items():
        daemon.stop_container(container)
        assert daemon.wait_exit(container).exit_code == 137, handler
    daemon.clear_pods()


def check_each(daemon: Daemon, podwright: CommandLine, pods: dict[str, str], containers: dict[str, str]) -> None:
    """Exec, network, port-forward and statistics of all the pods."""
    stats = daemon.runtime.ListPodSandboxStats(pb.ListPodSandboxStatsRequest()).stats
    using = {entry.attributes.id: entry.linux.memory.working_set_bytes.value for entry in stats}
    for handler, pod in pods.items():
        done = daemon.exec(containers[handler], "sh", "-c", "hostname; cat /tmp/w/index.html; exit 3", timeout=60)
        assert (done.stdout, done.exit_code) == (f"{handler}\nfrom {handler}\n".encode(), 3)
        assert fetch(f"http://{daemon.pod_status(pod).network.ip}:8080/") == f"from {handler}\n"
        assert forwarded(podwright, pod) == f"from {handler}\n"
        assert using[pod] > 0, f"{handler} uses memory"


def statuses(daemon: Daemon, pods: dict[str, str], containers: dict[str, str]) -> list[object]:
    return [
        *(daemon.pod_status(pod).SerializeToString(deterministic=True) for pod in pods.values()),
        *(daemon.status(container).SerializeToString(deterministic=True) for container in containers.values()),
    ]


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return str(answer.read().decode())


def forwarded(podwright: CommandLine, pod: str) -> str:
    """The pod's page by way of `podwright port-forward`."""
    with subprocess.Popen(argv(podwright, "port-forward", pod, ":8080"), stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().split(b":")[1].split()[0])
            return fetch(f"http://127.0.0.1:{port}/")
        finally:
            process.kill()


def has_ended(daemon: Daemon, pod: str) -> bool:
    return daemon.pod_status(pod).state == pb.SANDBOX_NOTREADY


def reason_of(daemon: Daemon, pod: str) -> str:
    request = pb.PodSandboxStatusRequest(pod_sandbox_id=pod, verbose=True)
    return str(json.loads(daemon.runtime.PodSandboxStatus(request).info["info"])["endedBecause"])


def what_lives(word: bytes, *ids: str) -> int:
    for entry in os.listdir("/proc"):
        if entry.isdigit() and word in (line := command_line(entry)) and any(one.encode() in line for one in ids):
            return int(entry)
    raise AssertionError(f"no {word!r} of {ids}")


def command_line(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
