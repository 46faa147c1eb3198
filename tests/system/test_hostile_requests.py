"""Requests that no client in its right mind sends: one field at a time holds what can't be.

Either the daemon does without it, or the error is the client's and says so; never ours, nor the runtime's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from podwright.criapi import api_pb2 as pb
from tests.support.daemon import HELLO, Daemon, container_config, pod_config, serving
from tests.system.test_every_call import IMAGE, NEEDED, RUNTIME

pytestmark = pytest.mark.root

# Calls that neither create nor end anything, and the field of each that isn't hostile.
OTHERS = {
    "ExecSync": "container_id", "Exec": "container_id", "Attach": "container_id", "PortForward": "pod_sandbox_id",
    "UpdateContainerResources": "container_id", "UpdatePodSandboxResources": "pod_sandbox_id", "ImageStatus": "",
    "ListImages": "", "ListPodSandbox": "", "ListContainers": "", "ListContainerStats": "", "ListPodSandboxStats": "",
    "UpdateRuntimeConfig": "", "PullImage": "auth",
}  # fmt: skip
LIMITS = {FieldDescriptor.CPPTYPE_INT64: 63, FieldDescriptor.CPPTYPE_INT32: 31}
CLIENTS_FAULT = {
    grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNIMPLEMENTED,
}  # fmt: skip


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with serving(Daemon(tmp_path_factory.mktemp("h"), runtime="crun")) as server:
        server.remove_pod(server.run_pod("first"))  # makes the bridge, which stays
        yield server


def impossible(field: FieldDescriptor) -> list[Any]:
    """Values of the field's type that mean nothing."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return [b"\0"] if field.type == FieldDescriptor.TYPE_BYTES else ["\0", "a\nb"]
    if bits := LIMITS.get(field.cpp_type):
        return [-(1 << bits), (1 << bits) - 1]
    return [99] if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM else []


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def changes(kind: Descriptor | None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """(name for a person, path of fields, value) of everything below a message type."""
    for field in kind.fields if kind is not None else ():
        here = (*path, field.name)
        if is_map(field):
            yield f"{'.'.join(here)} key", here, {"\0": "x"}
            yield f"{'.'.join(here)} value", here, {"name": "\0"}
        elif field.message_type is not None:
            if field.name not in ("windows", "linux_sandbox"):
                yield from changes(field.message_type, here)
        else:
            for value in impossible(field):
                yield f"{'.'.join(here)} = {value!r}", here, value


def put(message: Any, path: tuple[str, ...], value: Any) -> None:
    """Set what `path` leads to; of what is repeated, the first, which is made if there is none."""
    name, *rest = path
    field = message.DESCRIPTOR.fields_by_name[name]
    inner = getattr(message, name)
    if rest:
        if field.is_repeated:
            inner = inner[0] if inner else inner.add()
        put(inner, tuple(rest), value)
    elif isinstance(value, dict):
        inner.update(value)
    elif field.is_repeated:
        inner[:] = [value]
    else:
        setattr(message, name, value)


def pod_request(daemon: Daemon) -> pb.RunPodSandboxRequest:
    config = pod_config("hostile", daemon.directory / "logs", host_network=True)
    return pb.RunPodSandboxRequest(config=config)


def container_request(pod: str, directory: Path) -> pb.CreateContainerRequest:
    mounts = [pb.Mount(container_path="/mnt", host_path=str(directory))]
    config = container_config("hostile", "true", mounts=mounts, env={"A": "b"})
    config.devices.add(container_path="/dev/null", host_path="/dev/null", permissions="r")
    config.image.image = HELLO
    return pb.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=pb.PodSandboxConfig())


def blame(call: Callable[[], object], name: str) -> str:
    """What is wrong with how a call went; '' if nothing."""
    try:
        call()
        # A filter that nothing passes is no error.
        return f"{name}: accepted" if name.endswith("= 99") and "filter" not in name else ""
    except grpc.RpcError as error:
        assert isinstance(error, grpc.Call)  # noqa: PT017 - what grpc raises is also a call
        if error.code() not in CLIENTS_FAULT:
            return f"{name}: {error.code().name}: {error.details()}"
    return ""


def test_pods(daemon: Daemon) -> None:
    found = []
    for name, path, value in changes(pb.RunPodSandboxRequest.DESCRIPTOR):
        request = pod_request(daemon)
        put(request, path, value)
        found.append(blame(lambda request=request: daemon.runtime.RunPodSandbox(request), name))  # type: ignore[misc]
        daemon.clear_pods()
    assert "\n".join(filter(None, found)) == ""


def test_containers(daemon: Daemon, tmp_path: Path) -> None:
    found, pod = [], daemon.run_pod(host_network=True)
    for name, path, value in changes(pb.CreateContainerRequest.DESCRIPTOR.fields_by_name["config"].message_type):
        request = container_request(pod, tmp_path)
        put(request.config, path, value)
        found.append(blame(lambda request=request: daemon.runtime.CreateContainer(request), name))  # type: ignore[misc]
        for container in daemon.containers():
            found.append(blame(lambda container=container: daemon.start_container(container.id), name))  # type: ignore[misc]
            daemon.remove_container(container.id)
    daemon.clear_pods()
    assert "\n".join(filter(None, found)) == ""


def test_others(daemon: Daemon) -> None:
    pod = daemon.run_pod(host_network=True)
    container = daemon.run_container(pod, "sleep", "1000")
    ids, found = {"container_id": container, "pod_sandbox_id": pod}, []
    for name, given in OTHERS.items():
        service, stub = (RUNTIME, daemon.runtime) if name in RUNTIME.methods_by_name else (IMAGE, daemon.images)
        kind, call = service.methods_by_name[name].input_type, getattr(stub, name)
        for change, path, value in changes(kind):
            if path[0] in (given, "sandbox_config"):
                continue
            request = message_factory.GetMessageClass(kind)(**NEEDED.get(name, {}))
            put(request, path, value)
            if given in ids:
                setattr(request, given, ids[given])
            found.append(blame(lambda call=call, request=request: call(request, timeout=10), f"{name}.{change}"))  # type: ignore[misc]
    assert "\n".join(filter(None, found)) == ""
    assert daemon.exec(container, "echo", "well").stdout == b"well\n"
    daemon.clear_pods()
