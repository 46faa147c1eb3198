"""Security contexts: what containers inherit, and what Kubernetes' defaults mean in the CRI."""

from typing import Any

import pytest

from podwright.base.errors import InvalidArgument
from podwright.cli.manifest.cri_security import (
    MASKED_PATHS,
    READONLY_PATHS,
    container_security,
    namespace_options,
    sandbox_security,
)
from podwright.criapi import api_pb2 as pb
from tests.unit.cli.manifest.pods import pod

ROOT = pb.Image(id="sha256:1")


def security(
    own: dict[str, Any] | None = None, outer: dict[str, Any] | None = None, image: pb.Image = ROOT
) -> pb.LinuxContainerSecurityContext:
    made = pod({"securityContext": outer or {}}, {"securityContext": own or {}})
    return container_security(made, made.containers[0], image)


def test_defaults() -> None:
    made = security()
    assert made.run_as_user.value == 0
    assert made.HasField("run_as_user")
    assert not made.HasField("run_as_group")
    assert made.seccomp.profile_type == pb.SecurityProfile.RuntimeDefault
    assert not made.HasField("apparmor")
    assert not made.HasField("selinux_options")
    assert not made.no_new_privs
    assert list(made.masked_paths) == list(MASKED_PATHS)
    assert list(made.readonly_paths) == list(READONLY_PATHS)


def test_the_container_wins_over_the_pod() -> None:
    outer = {
        "runAsUser": 1, "runAsGroup": 2, "seccompProfile": {"type": "Unconfined"}, "fsGroup": 7,
        "supplementalGroups": [8, 7], "supplementalGroupsPolicy": "Strict", "seLinuxOptions": {"level": "s0"},
        "appArmorProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    made = security({}, outer)
    assert (made.run_as_user.value, made.run_as_group.value) == (1, 2)
    assert made.seccomp.profile_type == pb.SecurityProfile.Unconfined
    assert list(made.supplemental_groups) == [7, 8]
    assert made.supplemental_groups_policy == pb.Strict
    assert made.selinux_options.level == "s0"
    assert made.apparmor.profile_type == pb.SecurityProfile.RuntimeDefault
    own = {
        "runAsUser": 3, "seccompProfile": {"type": "Localhost", "localhostProfile": "a/b.json"},
        "seLinuxOptions": {"type": "t"}, "appArmorProfile": {"type": "Localhost", "localhostProfile": "mine"},
    }  # fmt: skip
    made = security(own, outer)
    assert (made.run_as_user.value, made.run_as_group.value) == (3, 2)
    assert made.seccomp.localhost_ref == "/var/lib/kubelet/seccomp/a/b.json"
    assert (made.selinux_options.level, made.selinux_options.type) == ("", "t")
    assert made.apparmor.localhost_ref == "mine"


def test_a_containers_own_settings() -> None:
    made = security(
        {
            "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False,
            "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}, "procMount": "Unmasked",
        }
    )  # fmt: skip
    assert (made.readonly_rootfs, made.no_new_privs) == (True, True)
    assert list(made.capabilities.add_capabilities) == ["NET_ADMIN"]
    assert list(made.capabilities.drop_capabilities) == ["ALL"]
    assert (list(made.masked_paths), list(made.readonly_paths)) == ([], [])


def test_privileged_means_unconfined_and_unmasked_unless_said_otherwise() -> None:
    made = security({"privileged": True})
    assert made.privileged
    assert made.seccomp.profile_type == pb.SecurityProfile.Unconfined
    assert not made.masked_paths
    made = security({"privileged": True, "seccompProfile": {"type": "RuntimeDefault"}})
    assert made.seccomp.profile_type == pb.SecurityProfile.RuntimeDefault


def test_the_user_comes_from_the_image_when_nobody_says() -> None:
    assert security(image=pb.Image(uid=pb.Int64Value(value=5))).run_as_user.value == 5
    named = security(image=pb.Image(username="www"))
    assert named.run_as_username == "www"
    assert not named.HasField("run_as_user")
    assert security({"runAsUser": 9}, image=pb.Image(username="www")).run_as_user.value == 9


@pytest.mark.parametrize(
    ("own", "outer", "image", "message"),
    [
        ({"runAsNonRoot": True}, {}, ROOT, "would run as root"),
        ({}, {"runAsNonRoot": True}, ROOT, "would run as root"),
        ({"runAsUser": 0}, {"runAsNonRoot": True}, pb.Image(uid=pb.Int64Value(value=5)), "would run as root"),
        ({"runAsNonRoot": True}, {}, pb.Image(username="www"), "'www' is a name"),
    ],
)
def test_root_is_refused_where_it_must_not_be(
    own: dict[str, Any], outer: dict[str, Any], image: pb.Image, message: str
) -> None:
    with pytest.raises(InvalidArgument, match=rf"^spec.containers\[0\].securityContext.runAsNonRoot: .*{message}"):
        security(own, outer, image)


def test_the_container_may_lift_the_pods_ban_on_root() -> None:
    assert security({"runAsNonRoot": False}, {"runAsNonRoot": True}).run_as_user.value == 0
    assert security({}, {"runAsNonRoot": True, "runAsUser": 4}).run_as_user.value == 4


@pytest.mark.parametrize(
    ("spec", "network", "pid", "ipc"),
    [
        ({}, pb.POD, pb.CONTAINER, pb.POD),
        ({"shareProcessNamespace": True}, pb.POD, pb.POD, pb.POD),
        ({"hostNetwork": True, "hostPID": True, "hostIPC": True}, pb.NODE, pb.NODE, pb.NODE),
    ],
)
def test_namespaces(
    spec: dict[str, Any],
    network: pb.NamespaceMode.ValueType,
    pid: pb.NamespaceMode.ValueType,
    ipc: pb.NamespaceMode.ValueType,
) -> None:
    assert namespace_options(pod(spec)) == pb.NamespaceOption(network=network, pid=pid, ipc=ipc)


def test_the_sandbox() -> None:
    made = sandbox_security(pod({"securityContext": {"runAsGroup": 2}}, {"securityContext": {"privileged": True}}))
    assert made.privileged
    assert not made.HasField("run_as_user")
    assert not made.HasField("run_as_group"), "a group without a user is an error of the CRI"
    assert made.seccomp.profile_type == pb.SecurityProfile.RuntimeDefault
    made = sandbox_security(pod({"securityContext": {"runAsUser": 1, "runAsGroup": 2}}))
    assert (made.run_as_user.value, made.run_as_group.value) == (1, 2)
