"""A call whose deadline passed is made again: it joins the work that goes on, or finds it done."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from podwright.criapi import api_pb2 as pb
from podwright.wire import cri_log
from tests.support.daemon import HELLO, Daemon, container_config, pod_config, serving
from tests.support.images import find, refusal
from tests.support.limits import limits_of

pytestmark = pytest.mark.root

SOON_S = 0.15
SLOW_RUNTIME = """#!/bin/sh
for word in "$@"; do
    case "$word" in create|start|delete|update) sleep 0.5; break ;; esac
done
exec runc "$@"
"""
SLOW_PLUGIN = """#!/bin/sh
config=$(cat)
sleep 0.5
[ "$CNI_COMMAND" = DEL ] || echo "$config" | sed 's/.*"prevResult"://; s/}$//'
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Each verb of its runtime, and its network, take longer than the caller waits."""
    directory = tmp_path_factory.mktemp("r")
    for name, text in (("slow", SLOW_RUNTIME), ("slow-plugin", SLOW_PLUGIN)):
        (directory / name).write_text(text)
        (directory / name).chmod(0o755)
    config = (
        f'[runtime.handlers.slow]\npath = "{directory}/slow"\n'
        f'[network]\nplugin_dirs = ["{directory}", "/usr/lib/cni", "/opt/cni/bin"]\n'
    )
    server = Daemon(directory, runtime="crun", config=config)
    with serving(server):
        server.remove_pod(server.run_pod("first"))  # makes the bridge, which stays
        yield server


@pytest.fixture(autouse=True)
def _clean(daemon: Daemon) -> Iterator[None]:
    yield
    daemon.clear_pods()


def gives_up(call: Callable[[], object]) -> None:
    assert refusal(call)[0] == grpc.StatusCode.DEADLINE_EXCEEDED


def slow_pod(daemon: Daemon) -> str:
    return daemon.run_pod(handler="slow", host_network=True)


def test_pod(daemon: Daemon) -> None:
    path = daemon.cni_dir / "10-test.conflist"
    before = path.read_text()
    document = json.loads(before)
    document["plugins"].append({"type": "slow-plugin"})
    path.write_text(json.dumps(document))
    request = pb.RunPodSandboxRequest(config=pod_config("slow", daemon.directory / "logs"))
    gives_up(lambda: daemon.runtime.RunPodSandbox(request, timeout=SOON_S))
    pod = daemon.runtime.RunPodSandbox(request).pod_sandbox_id
    assert [item.id for item in daemon.pods()] == [pod]
    assert daemon.pod_status(pod).network.ip
    stop = pb.StopPodSandboxRequest(pod_sandbox_id=pod)
    gives_up(lambda: daemon.runtime.StopPodSandbox(stop, timeout=SOON_S))
    daemon.runtime.StopPodSandbox(stop)
    assert daemon.pod_status(pod).state == pb.SANDBOX_NOTREADY
    daemon.remove_pod(pod)
    other = daemon.run_pod("other")
    remove = pb.RemovePodSandboxRequest(pod_sandbox_id=other)
    gives_up(lambda: daemon.runtime.RemovePodSandbox(remove, timeout=SOON_S))
    daemon.runtime.RemovePodSandbox(remove)
    assert daemon.pods() == []
    path.write_text(before)


def test_container(daemon: Daemon) -> None:
    pod = slow_pod(daemon)
    config = container_config("main", "sleep", "1000")
    create = pb.CreateContainerRequest(pod_sandbox_id=pod, config=config)
    gives_up(lambda: daemon.runtime.CreateContainer(create, timeout=SOON_S))
    container = daemon.runtime.CreateContainer(create).container_id
    assert [one.id for one in daemon.containers()] == [container]
    start = pb.StartContainerRequest(container_id=container)
    gives_up(lambda: daemon.runtime.StartContainer(start, timeout=SOON_S))
    daemon.runtime.StartContainer(start)
    assert daemon.status(container).state == pb.CONTAINER_RUNNING
    stop = pb.StopContainerRequest(container_id=container, timeout=1)
    gives_up(lambda: daemon.runtime.StopContainer(stop, timeout=SOON_S))
    daemon.runtime.StopContainer(stop)
    assert daemon.status(container).exit_code == 137
    remove = pb.RemoveContainerRequest(container_id=container)
    gives_up(lambda: daemon.runtime.RemoveContainer(remove, timeout=0.01))
    daemon.runtime.RemoveContainer(remove)
    assert daemon.containers() == []


def test_update(daemon: Daemon) -> None:
    """The second caller gets its answer when the limits are in force."""
    container = daemon.run_container(slow_pod(daemon), "sleep", "1000")
    change = pb.LinuxContainerResources(memory_limit_in_bytes=64 << 20)
    request = pb.UpdateContainerResourcesRequest(container_id=container, linux=change)
    gives_up(lambda: daemon.runtime.UpdateContainerResources(request, timeout=SOON_S))
    daemon.runtime.UpdateContainerResources(request)
    verbose = pb.ContainerStatusRequest(container_id=container, verbose=True)
    pid = json.loads(daemon.runtime.ContainerStatus(verbose).info["info"])["pid"]
    assert limits_of(pid).memory == 64 << 20


def test_exec(daemon: Daemon) -> None:
    """What nobody waits for is gone; the second one runs by itself."""
    container = daemon.run_container(daemon.run_pod(host_network=True), "sleep", "1000")
    request = pb.ExecSyncRequest(container_id=container, cmd=["sh", "-c", "echo >>/tries; exec sleep 4321"])
    gives_up(lambda: daemon.runtime.ExecSync(request, timeout=0.5))
    daemon.wait_until(lambda: b"4321" not in daemon.exec(container, "ps").stdout)
    assert daemon.exec(container, "cat", "/tries").stdout == b"\n"


def test_reopened_log(crun_daemon: Daemon) -> None:
    """Renamed and reopened over and over, by callers with patience and without, across a restart: each line once."""
    script = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.002; done"
    daemon = crun_daemon
    container = daemon.run_container(daemon.run_pod(host_network=True), "sh", "-c", script)
    log, request = Path(daemon.status(container).log_path), pb.ReopenContainerLogRequest(container_id=container)
    for turn in range(10):
        daemon.wait_until(lambda: log.stat().st_size > 0)
        log.rename(f"{log}.{turn}")
        if turn == 4:
            daemon.restart()
        try:
            daemon.runtime.ReopenContainerLog(request, timeout=0.0005 if turn % 2 else 10)
        except grpc.RpcError:
            daemon.runtime.ReopenContainerLog(request)
        assert log.exists()
    daemon.stop_container(container)
    assert refusal(lambda: daemon.runtime.ReopenContainerLog(request))[0] == grpc.StatusCode.FAILED_PRECONDITION
    files = [*(Path(f"{log}.{turn}") for turn in range(10)), log]
    lines = cri_log.LogReader().feed(b"".join(file.read_bytes() for file in files))
    numbers = [int(line.content) for line in lines]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 10


def test_image(daemon: Daemon) -> None:
    request = pb.RemoveImageRequest(image=pb.ImageSpec(image=HELLO))
    try:
        daemon.images.RemoveImage(request, timeout=0.001)
    except grpc.RpcError:
        daemon.images.RemoveImage(request)
    assert find(daemon, HELLO) is None
    daemon.load_hello()
