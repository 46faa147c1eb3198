"""What holds for every RPC: unknown ids, missing ids, prefixes of ids, and serving after a restart what was before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor

from podwright.criapi import api_pb2 as pb
from tests.support.daemon import HELLO, Daemon, container_config, pod_config, serving
from tests.support.images import refusal

pytestmark = pytest.mark.root

RUNTIME = pb.DESCRIPTOR.services_by_name["RuntimeService"]
IMAGE = pb.DESCRIPTOR.services_by_name["ImageService"]
UNKNOWN = "f" * 64
IDEMPOTENT = {"StopPodSandbox", "RemovePodSandbox", "StopContainer", "RemoveContainer"}
# What these need beside the id, so that the id is what is wrong.
NEEDED: dict[str, dict[str, Any]] = {
    "CreateContainer": {"config": container_config("c", "true")},
    "ExecSync": {"cmd": ["true"]},
    "Exec": {"cmd": ["true"], "stdout": True},
    "Attach": {"stdout": True},
    "PortForward": {"port": [80]},
    "UpdateContainerResources": {"linux": pb.LinuxContainerResources(cpu_shares=2)},
    "CheckpointContainer": {"location": "/nowhere/c.tar"},
    "CheckpointPod": {"output_path": "/nowhere", "container_ids": ["c"]},
}


def id_field(method: MethodDescriptor) -> str:
    fields = method.input_type.fields_by_name
    return next((name for name in ("container_id", "pod_sandbox_id") if name in fields), "")


BY_ID = sorted(method.name for method in RUNTIME.methods if id_field(method))


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    server = Daemon(tmp_path_factory.mktemp("every"), runtime="crun")
    server.start()
    try:
        server.load_hello()
        yield server
    finally:
        server.remove_everything()
    assert server.leftovers() == []


def call(daemon: Daemon, name: str, subject: str = "", **more: Any) -> Any:
    """The answer; of a stream, all its messages."""
    service, stub = (RUNTIME, daemon.runtime) if name in RUNTIME.methods_by_name else (IMAGE, daemon.images)
    method = service.methods_by_name[name]
    request_type = message_factory.GetMessageClass(method.input_type)
    named = {id_field(method): subject} if id_field(method) else {}
    answer = getattr(stub, name)(request_type(**named, **{**NEEDED.get(name, {}), **more}), timeout=20)
    return list(answer) if method.server_streaming else answer


def test_the_list_is_not_empty() -> None:
    assert len(BY_ID) >= 17


@pytest.mark.parametrize("name", BY_ID)
def test_unknown_id(daemon: Daemon, name: str) -> None:
    if name in IDEMPOTENT:
        call(daemon, name, UNKNOWN)
        return
    code, words = refusal(lambda: call(daemon, name, UNKNOWN))
    assert code == grpc.StatusCode.NOT_FOUND
    assert UNKNOWN[:12] in words


@pytest.mark.parametrize("name", BY_ID)
def test_missing_id(daemon: Daemon, name: str) -> None:
    code, words = refusal(lambda: call(daemon, name, ""))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert id_field(RUNTIME.methods_by_name[name]) in words


def test_prefixes(daemon: Daemon) -> None:
    """17 ids can't all begin differently."""
    pods = [daemon.run_pod(f"prefix-{number}", host_network=True) for number in range(17)]
    first = [pod[0] for pod in pods]
    shared = next(character for character in first if first.count(character) > 1)
    for name in ("PodSandboxStatus", "StopPodSandbox", "RemovePodSandbox", "CreateContainer"):
        code, words = refusal(lambda name=name: call(daemon, name, shared))  # type: ignore[misc]
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert "more than one" in words
    assert len(daemon.pods()) == 17
    for pod in pods:
        assert daemon.pod_status(pod[:16]).id == pod
        daemon.remove_pod(pod[:16])
    assert daemon.pods() == []


# Answered with the same words before and after.
READ = (
    "Version", "Status", "RuntimeConfig", "ListPodSandbox", "StreamPodSandboxes", "ListContainers", "StreamContainers",
    "ListMetricDescriptors", "ListImages", "StreamImages",
)  # fmt: skip
MEASURE = (
    "ListContainerStats", "StreamContainerStats", "ListPodSandboxStats", "StreamPodSandboxStats",
    "ListPodSandboxMetrics", "StreamPodSandboxMetrics", "ImageFsInfo",
)  # fmt: skip
# Where a restart is part of a test of their own: test_events, test_pulls, test_checkpoints.
ELSEWHERE = {"GetContainerEvents", "PullImage", "CheckpointContainer", "CheckpointPod", "RestorePod"}


def test_after_a_restart(tmp_path: Path) -> None:
    with serving(Daemon(tmp_path, runtime="crun")) as daemon:
        pod = daemon.run_pod("old")
        main = daemon.run_container(pod, "sleep", "1000")
        created = daemon.create(pod, container_config("created", "sleep", "1000"))
        before = read(daemon, pod, main)
        daemon.restart()
        assert read(daemon, pod, main) == before
        done = {*READ, "PodSandboxStatus", "ContainerStatus", "ImageStatus"}
        again = pod_config("again", tmp_path / "logs", host_network=True)
        acts: tuple[tuple[str, str, dict[str, Any]], ...] = (
            *((name, "", {}) for name in MEASURE),
            ("ContainerStats", main, {}), ("PodSandboxStats", pod, {}), ("ExecSync", main, {"cmd": ["echo"]}),
            ("Exec", main, {}), ("Attach", main, {}), ("PortForward", pod, {}), ("ReopenContainerLog", main, {}),
            ("UpdateContainerResources", main, {}), ("UpdatePodSandboxResources", pod, {}),
            ("UpdateRuntimeConfig", "", {}), ("RunPodSandbox", "", {"config": again}),
            ("CreateContainer", pod, {"config": container_config("new", "echo")}), ("StartContainer", created, {}),
            ("StopContainer", main, {}), ("RemoveContainer", main, {}), ("StopPodSandbox", pod, {}),
            ("RemovePodSandbox", pod, {}), ("RemoveImage", "", {"image": pb.ImageSpec(image=HELLO)}),
        )  # fmt: skip
        for name, subject, more in acts:
            assert call(daemon, name, subject, **more) is not None
            done.add(name)
        assert {item.metadata.name for item in daemon.pods()} == {"again"}
    methods = {method.name for service in (RUNTIME, IMAGE) for method in service.methods}
    assert done | ELSEWHERE == methods, "no call is forgotten here"


def read(daemon: Daemon, pod: str, container: str) -> dict[str, Any]:
    answers = {name: call(daemon, name) for name in READ}
    answers["ImageStatus"] = call(daemon, "ImageStatus", image=pb.ImageSpec(image=HELLO))
    answers["ContainerStatus"] = call(daemon, "ContainerStatus", container)
    answers["PodSandboxStatus"] = call(daemon, "PodSandboxStatus", pod)
    answers["PodSandboxStatus"].ClearField("timestamp")
    return answers
