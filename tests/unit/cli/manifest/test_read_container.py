"""Containers: what is understood, and what is wrong."""

from typing import Any

import pytest

from podwright.base.errors import InvalidArgument
from podwright.cli.manifest.model import (
    Amounts,
    ConfigMapKey,
    Container,
    EnvFrom,
    EnvVar,
    FieldRef,
    Port,
    Resources,
    VolumeMount,
)
from tests.unit.cli.manifest.pods import pod

VOLUMES = {"volumes": [{"name": "data"}]}


def container(fields: dict[str, Any]) -> Container:
    return pod(VOLUMES, fields).containers[0]


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("busybox", "Always"),
        ("busybox:latest", "Always"),
        ("host:5000/busybox", "Always"),
        ("busybox:1", "IfNotPresent"),
        ("busybox@sha256:abc", "IfNotPresent"),
        ("busybox:latest@sha256:abc", "IfNotPresent"),
    ],
)
def test_the_default_pull_policy(image: str, policy: str) -> None:
    assert container({"image": image}).pull_policy == policy


def test_environment() -> None:
    made = container(
        {
            "env": [
                {"name": "A", "value": "x"},
                {"name": "B"},
                {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                {"name": "D", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k", "optional": True}}},
            ],
            "envFrom": [{"prefix": "P_", "configMapRef": {"name": "m"}}],
        }
    )
    at = "spec.containers[0].env"
    assert made.env == (
        EnvVar("A", "x", f"{at}[0]"),
        EnvVar("B", "", f"{at}[1]"),
        EnvVar("C", FieldRef("metadata.labels['app']"), f"{at}[2]"),
        EnvVar("D", ConfigMapKey("m", "k", optional=True), f"{at}[3]"),
    )
    assert made.env_from == (EnvFrom("m", "P_", where="spec.containers[0].envFrom[0].configMapRef"),)


def test_ports_mounts_and_streams() -> None:
    made = container(
        {
            "ports": [{"containerPort": 80, "hostPort": 8080, "hostIP": "127.0.0.1", "protocol": "UDP", "name": "x"}],
            "volumeMounts": [
                {"name": "data", "mountPath": "data", "readOnly": True, "recursiveReadOnly": "Enabled",
                 "subPath": "a/b"},
                {"name": "data", "mountPath": "/b", "subPathExpr": "$(A)", "mountPropagation": "HostToContainer"},
            ],
            "tty": True, "stdin": True, "stdinOnce": True, "workingDir": "/w", "terminationMessagePath": "/bye",
            "command": ["a"], "args": ["b"],
        }
    )  # fmt: skip
    assert made.ports == (Port(80, 8080, "127.0.0.1", "UDP"),)
    at = "spec.containers[0].volumeMounts"
    assert made.mounts == (
        VolumeMount("data", "/data", True, True, "a/b", where=f"{at}[0]"),
        VolumeMount("data", "/b", sub_path_expr="$(A)", propagation="HostToContainer", where=f"{at}[1]"),
    )
    assert (made.tty, made.stdin, made.stdin_once, made.working_dir) == (True, True, True, "/w")
    assert (made.command, made.args, made.termination_message_path) == (("a",), ("b",), "/bye")


def test_requests_default_to_limits() -> None:
    made = container({"resources": {"requests": {"cpu": "50m"}, "limits": {"cpu": 1, "memory": "64Mi"}}})
    assert made.resources == Resources(Amounts(50, 64 * 2**20), Amounts(1000, 64 * 2**20))
    huge = container({"resources": {"limits": {"hugepages-2Mi": "4Mi", "memory": "1Gi", "cpu": 0.5}}})
    assert huge.resources.limits == Amounts(500, 2**30, {"2Mi": 4 * 2**20})


def test_a_sidecar_is_an_init_container_that_always_restarts() -> None:
    warnings: list[str] = []
    made = pod(
        {
            "initContainers": [
                {"name": "a", "image": "x:1", "restartPolicy": "Always"},
                {"name": "b", "image": "x:1", "restartPolicy": "Never"},
            ]
        },
        {"restartPolicy": "Always"},
        warnings,
    )
    assert [(c.name, c.sidecar) for c in made.all_containers] == [("a", True), ("b", False), ("web", False)]
    assert len(warnings) == 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"imagee": "x"}, r"imagee: unknown field; did you mean image\?"),
        ({"image": ""}, "image: is required"),
        ({"imagePullPolicy": "Sometimes"}, "imagePullPolicy: must be one of"),
        ({"command": "sh"}, "command: must be a list, not 'sh'"),
        ({"args": [1]}, r"args\[0\]: must be a string, not 1; put it in quotes"),
        ({"env": [{"name": "A", "value": True}]}, r"env\[0\].value: must be a string, not true; put it in quotes"),
        ({"env": [{"name": "A=B"}]}, r"env\[0\].name: 'A=B' can't be"),
        ({"env": [{"name": "A", "value": "x", "valueFrom": {}}]}, r"env\[0\].valueFrom: can't go together with value"),
        ({"env": [{"name": "A", "valueFrom": {}}]}, r"env\[0\].valueFrom: must have one of"),
        (
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]},
            r"env\[0\].valueFrom.fieldRef.fieldPath: spec.x can't be played",
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
            r"env\[0\].valueFrom.secretKeyRef: secrets need a cluster",
        ),
        ({"envFrom": [{"secretRef": {"name": "s"}}]}, r"envFrom\[0\].secretRef: secrets need a cluster"),
        ({"envFrom": [{}]}, r"envFrom\[0\].configMapRef: is required"),
        ({"ports": [{"containerPort": 0}]}, r"ports\[0\].containerPort: must be from 1 to 65535, not 0"),
        ({"ports": [{}]}, r"ports\[0\].containerPort: is required"),
        ({"ports": [{"containerPort": 1, "protocol": "ICMP"}]}, r"ports\[0\].protocol: must be one of"),
        ({"volumeMounts": [{"name": "x", "mountPath": "/x"}]}, r"volumeMounts\[0\].name: there is no volume 'x'"),
        ({"volumeMounts": [{"name": "data", "mountPath": "/a:b"}]}, r"volumeMounts\[0\].mountPath: must not contain"),
        (
            {"volumeMounts": [{"name": "data", "mountPath": "/a", "subPath": "../x"}]},
            r"volumeMounts\[0\].subPath: '../x' must be a relative path",
        ),
        (
            {"volumeMounts": [{"name": "data", "mountPath": "/a", "subPath": "x", "subPathExpr": "y"}]},
            r"volumeMounts\[0\].subPathExpr: can't go together",
        ),
        (
            {"volumeMounts": [{"name": "data", "mountPath": "/a", "recursiveReadOnly": "Enabled"}]},
            r"volumeMounts\[0\].recursiveReadOnly: needs readOnly",
        ),
        ({"volumeDevices": [{"name": "x"}]}, "volumeDevices: block volumes need a cluster"),
        ({"resources": {"limits": {"cpu": "lots"}}}, "resources.limits.cpu: 'lots' is not a quantity"),
        ({"resources": {"limits": {"gpu": 1}}}, "resources.limits.gpu: unknown resource"),
        (
            {"resources": {"limits": {"cpu": 1}, "requests": {"cpu": 2}}},
            "resources.requests.cpu: must not be more than limits.cpu",
        ),
        ({"terminationMessagePath": "x"}, "terminationMessagePath: 'x' must be an absolute path"),
        ({"securityContext": {"runAsUser": -1}}, "securityContext.runAsUser: must be from 0"),
        ({"securityContext": {"fsGroup": 1}}, "securityContext.fsGroup: unknown field"),
        (
            {"securityContext": {"privileged": True, "allowPrivilegeEscalation": False}},
            "securityContext.allowPrivilegeEscalation: can't be false",
        ),
        (
            {"securityContext": {"seccompProfile": {"type": "Localhost"}}},
            "securityContext.seccompProfile.localhostProfile: goes together",
        ),
        (
            {"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "../x"}}},
            "securityContext.seccompProfile.localhostProfile: must not contain",
        ),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"^spec.containers\[0\]\.{message}"):
        container(fields)
