"""Pods in containerd-shim-runc-v2: what differs from other runtimes, as one program is runtime and monitor of a pod."""

from __future__ import annotations

import json
import os
import signal
import subprocess  # noqa: TID251 - tests talk to the daemon as people do
from collections.abc import Iterator
from pathlib import Path

import pytest

from podwright.criapi import api_pb2 as pb
from tests.support.command_line import CommandLine
from tests.support.daemon import Daemon, container_config, pod_config, serving
from tests.support.limits import limits_of
from tests.support.remote import argv, piped
from tests.support.user_namespaces import FIRST, pass_through, userns_options

pytestmark = pytest.mark.root

COUNT = "i=0; while true; do echo $i; i=$((i+1)); sleep 0.05; done"


@pytest.fixture
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    directory = tmp_path_factory.mktemp("d")
    pass_through(directory)
    with serving(Daemon(directory, runtime="crun")) as server:
        yield server


@pytest.fixture
def podwright(daemon: Daemon, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(daemon.socket, capfd, monkeypatch)


def info(daemon: Daemon, container: str) -> dict[str, int]:
    """The pids of the container and of its monitor."""
    request = pb.ContainerStatusRequest(container_id=container, verbose=True)
    return dict(json.loads(daemon.runtime.ContainerStatus(request).info["info"]))


def numbers(log: Path) -> list[int]:
    return [int(line.split(" ", 3)[3]) for line in log.read_text().splitlines()]


def test_one_shim_for_all_of_a_pod(daemon: Daemon, podwright: CommandLine) -> None:
    """Logs and their rotation, statistics, limits, exec: as with any other runtime."""
    status = daemon.runtime.Status(pb.StatusRequest())
    features = {h.name: h.features for h in status.runtime_handlers}
    assert features["shim"] == features["runc"], "those of what it calls"
    pod = daemon.run_pod(handler="shim")
    first = daemon.run_container(pod, "sh", "-c", COUNT, name="first")
    second = daemon.run_container(pod, "sleep", "1000", name="second")
    assert info(daemon, first)["monitorPid"] == info(daemon, second)["monitorPid"]

    log = daemon.wait_log(first, "F 3")
    log.rename(log.with_suffix(".old"))
    daemon.runtime.ReopenContainerLog(pb.ReopenContainerLogRequest(container_id=first))
    daemon.wait_until(lambda: len(numbers(log)) > 2)
    both = numbers(log.with_suffix(".old")) + numbers(log)
    assert both == list(range(len(both)))

    stats = daemon.runtime.ContainerStats(pb.ContainerStatsRequest(container_id=first)).stats
    assert stats.cpu.usage_core_nano_seconds.value > 0
    assert stats.memory.working_set_bytes.value > 0
    update = pb.LinuxContainerResources(memory_limit_in_bytes=48 << 20)
    daemon.runtime.UpdateContainerResources(pb.UpdateContainerResourcesRequest(container_id=second, linux=update))
    assert limits_of(info(daemon, second)["pid"]).memory == 48 << 20
    assert piped(podwright, "exec", "-i", second, "sh", "-c", "cat; exit 3", stdin=b"typed") == (3, b"typed", b"")


def test_the_death_of_a_shim(daemon: Daemon) -> None:
    """Ends the containers of its pod, with a reason; other pods go on, and the pod's next container has a new shim."""
    pods = [daemon.run_pod(name, handler="shim") for name in ("one", "two")]
    one, two = (daemon.run_container(pod, "sleep", "1000") for pod in pods)
    process = Path(f"/proc/{info(daemon, one)['pid']}")
    os.kill(info(daemon, one)["monitorPid"], signal.SIGKILL)
    status = daemon.wait_exit(one)
    assert (status.exit_code, status.reason) == (255, "Error")
    assert "monitor died" in status.message
    daemon.wait_until(lambda: not process.exists())
    assert daemon.exec(two, "echo", "here").stdout == b"here\n"
    again = daemon.run_container(pods[0], "sleep", "1000", name="again")
    assert daemon.exec(again, "echo", "here").stdout == b"here\n"


def test_a_crash_of_the_daemon(daemon: Daemon, podwright: CommandLine) -> None:
    """Containers go on, what was executed in them is ended, no line is lost, and who attaches afterwards is served."""
    pod = daemon.run_pod(handler="shim")
    config = container_config("reader", "sh", "-c", "while read line; do echo got $line; done")
    config.stdin = True
    reader = daemon.create(pod, config)
    daemon.start_container(reader)
    writer = daemon.run_container(pod, "sh", "-c", COUNT, name="writer")
    words = argv(podwright, "exec", "-i", writer, "sh", "-c", "echo running; trap '' HUP PIPE; sleep 4321; sleep 4321")
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"running\n"
        daemon.kill()
        client.communicate(timeout=20)
    daemon.start()
    assert b"4321" not in daemon.exec(writer, "ps").stdout
    assert list((daemon.run / "shims/exec").iterdir()) == []
    words = argv(podwright, "attach", "-i", reader)
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(b"this\n")
        client.stdin.flush()
        assert client.stdout.readline() == b"got this\n"
        client.kill()
    daemon.stop_container(writer)
    assert daemon.status(writer).exit_code == 137
    seen = numbers(Path(daemon.status(writer).log_path))
    assert seen == list(range(len(seen)))


def test_a_user_namespace(daemon: Daemon) -> None:
    config = pod_config("mapped", daemon.directory / "logs")
    config.linux.security_context.namespace_options.CopyFrom(userns_options())
    request = pb.RunPodSandboxRequest(config=config, runtime_handler="shim")
    pod = daemon.runtime.RunPodSandbox(request).pod_sandbox_id
    security = pb.LinuxContainerSecurityContext(namespace_options=userns_options())
    container = daemon.run_container(pod, "sh", "-c", "id -u; echo err >&2; sleep 1000", security=security)
    daemon.wait_log(container, "F 0")
    daemon.wait_log(container, "stderr F err")
    assert f"Uid:\t{FIRST}\t" in Path(f"/proc/{info(daemon, container)['pid']}/status").read_text()
    assert daemon.exec(container, "id", "-u").stdout == b"0\n"
