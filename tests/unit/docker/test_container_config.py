"""A container in Docker's words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from podwright.base.errors import FailedPrecondition, InvalidArgument
from podwright.container.spec.facts import HostFacts, ImageFacts, MountSource, RequestFacts, SandboxFacts
from podwright.container.spec.user import ResolvedUser
from podwright.criapi import api_pb2 as pb
from podwright.docker.container.config import Place, container_body
from podwright.docker.container.unsupported import check_supported

HOST = HostFacts(capabilities=frozenset({"CAP_CHOWN", "CAP_KILL", "CAP_SYS_ADMIN"}))
POD = SandboxFacts(
    id="p", name="pod", namespace="ns", uid="u", cgroup_parent="/kubepods/p", privileged=True,
    namespaces={"network": "", "ipc": ""}, hosts=Path("/r/hosts"), resolv_conf=Path("/r/resolv.conf"),
    hostname_file=Path("/r/hostname"),
)  # fmt: skip
PLACE = Place("c" * 64, "word", "runc", "podwright_POD", "target", 1 << 20, gives_privileges=True)
NOTHING = RequestFacts()
USER = ResolvedUser(1000, 50, (50, 7))


def config(**fields: Any) -> pb.ContainerConfig:
    given = pb.ContainerConfig(metadata=pb.ContainerMetadata(name="main"), command=["sh"], **fields)
    if not given.linux.security_context.HasField("namespace_options"):
        given.linux.security_context.namespace_options.pid = pb.CONTAINER
    return given


def body(
    given: pb.ContainerConfig, *, pod: SandboxFacts = POD, host: HostFacts = HOST, place: Place = PLACE,
    request: RequestFacts = NOTHING,
) -> dict[str, Any]:  # fmt: skip
    return container_body(given, pod, ImageFacts(id="sha256:i", command=("image",)), host, request, USER, place)


def host_config(given: pb.ContainerConfig, **more: Any) -> dict[str, Any]:
    found = body(given, **more)["HostConfig"]
    assert isinstance(found, dict)
    return found


def test_who_and_what() -> None:
    made = body(config(args=["-c", "x"], envs=[pb.KeyValue(key="A", value=b"1"), pb.KeyValue(key="A", value=b"2")]))
    assert (made["Entrypoint"], made["Cmd"], made["User"], made["Env"]) == (["sh"], ["-c", "x"], "1000:50", ["A=2"])
    assert made["HostConfig"]["GroupAdd"] == ["7"]
    assert made["Healthcheck"] == {"Test": ["NONE"]}, "the kubelet has probes of its own"
    assert made["Labels"]["podwright.instance"] == "word"


def test_labels_of_ours_cant_be_given() -> None:
    made = body(config(labels={"podwright.id": "other", "app": "web"}))
    assert (made["Labels"]["podwright.id"], made["Labels"]["app"]) == ("c" * 64, "web")


def test_namespaces() -> None:
    made = host_config(config())
    assert (made["NetworkMode"], made["IpcMode"], made["PidMode"]) == ("container:podwright_POD",) * 2 + ("",)
    alone = host_config(config(), pod=SandboxFacts(
        id="p", name="pod", namespace="ns", uid="u", hosts=Path("/h"), resolv_conf=Path("/h"), hostname_file=Path("/h")
    ))  # fmt: skip
    assert (alone["NetworkMode"], alone["IpcMode"], alone["UTSMode"]) == ("host",) * 3
    target = config()
    target.linux.security_context.namespace_options.pid = pb.TARGET
    assert host_config(target)["PidMode"] == "container:target"
    shared = config()
    shared.linux.security_context.namespace_options.pid = pb.POD
    with pytest.raises(FailedPrecondition, match="shared PID"):
        host_config(shared)


def test_limits() -> None:
    given = config()
    given.linux.resources.memory_limit_in_bytes = 100
    assert host_config(given)["MemorySwap"] == -1, "Docker would allow as much swap as memory"
    given.linux.resources.memory_swap_limit_in_bytes = 150
    given.linux.resources.cpu_quota = -1
    made = host_config(given)
    assert (made["Memory"], made["MemorySwap"], made["CpuQuota"]) == (100, 150, -1)


def test_of_two_mounts_at_one_place_the_later_counts() -> None:
    given = config(mounts=[
        pb.Mount(container_path="/etc/hosts", host_path="/a"), pb.Mount(container_path="/etc/hosts/", host_path="/b"),
    ])  # fmt: skip
    made = host_config(given, request=RequestFacts(sources={"/etc/hosts": MountSource(Path("/b"))}))
    assert [m["Source"] for m in made["Mounts"] if m["Target"] == "/etc/hosts"] == ["/b"]
    assert sorted(m["Target"] for m in made["Mounts"]) == ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"]


def test_read_only_goes_as_deep_as_asked() -> None:
    host = HostFacts(capabilities=frozenset(), recursive_read_only=True)
    sources = RequestFacts(sources={"/m": MountSource(Path("/m"))})
    for recursive, key in ((True, "ReadOnlyForceRecursive"), (False, "ReadOnlyNonRecursive")):
        mount = pb.Mount(container_path="/m", host_path="/m", readonly=True, recursive_read_only=recursive)
        made = host_config(config(mounts=[mount]), host=host, request=sources)["Mounts"][-1]
        assert (made["ReadOnly"], made["BindOptions"][key]) == (True, True)


def test_privileges_where_docker_can_give_them_all_and_where_not() -> None:
    given = config()
    given.linux.security_context.privileged = True
    assert host_config(given)["Privileged"]
    partly = host_config(given, place=Place("c", "w", "runc", "s", "", 1, gives_privileges=False))
    assert not partly["Privileged"]
    assert partly["CapAdd"] == ["CAP_CHOWN", "CAP_KILL", "CAP_SYS_ADMIN"]
    assert partly["DeviceCgroupRules"] == ["a *:* rwm"]
    assert {"seccomp=unconfined", "apparmor=unconfined"} <= set(partly["SecurityOpt"])


def test_capabilities_are_those_asked_for_and_no_default_of_dockers() -> None:
    given = config()
    given.linux.security_context.capabilities.drop_capabilities.append("KILL")
    made = host_config(given)
    assert (made["CapDrop"], made["CapAdd"]) == (["ALL"], ["CAP_CHOWN"])


@pytest.mark.parametrize(("field", "given"), [
    ("mounts[0].mount_options", config(mounts=[pb.Mount(container_path="/i", mount_options=["noexec"])])),
    ("CDI_devices", config(CDI_devices=[pb.CDIDevice(name="v.com/d=a")])),
])  # fmt: skip
def test_what_docker_has_no_word_for(field: str, given: pb.ContainerConfig) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_supported(given)
    assert refused.value.field == field
