"""What holds for every RPC that names a pod or a container: unknown ids, missing ids, prefixes of ids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor

from podwright.criapi import api_pb2 as pb
from tests.support.daemon import Daemon, container_config
from tests.support.images import refusal

pytestmark = pytest.mark.root

RUNTIME = pb.DESCRIPTOR.services_by_name["RuntimeService"]
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


def call(daemon: Daemon, name: str, subject: str) -> Any:
    method = RUNTIME.methods_by_name[name]
    request_type = message_factory.GetMessageClass(method.input_type)
    request = request_type(**{id_field(method): subject}, **NEEDED.get(name, {}))
    return getattr(daemon.runtime, name)(request, timeout=20)


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
