"""The environment of a container, in the order and with the precedence of the kubelet."""

from typing import Any

import pytest

from podwright.base.errors import InvalidArgument
from podwright.cli.manifest.environment import encode, environment
from podwright.cli.manifest.model import ConfigMaps
from tests.unit.cli.manifest.pods import HOST, instance, pod

MAPS: ConfigMaps = {"m": {"k": b"v", "raw": b"\xff\x00"}}


def variables(fields: dict[str, Any], spec: dict[str, Any] | None = None, maps: ConfigMaps = MAPS) -> dict[str, str]:
    made = pod(spec, fields)
    ips = () if made.host_network else ("10.85.0.7", "fd00::7")
    return environment(made, made.containers[0], maps, HOST, instance(made, ips=ips))


def field(path: str) -> dict[str, Any]:
    return {"name": "X", "valueFrom": {"fieldRef": {"fieldPath": path}}}


def test_later_values_see_earlier_ones_and_env_beats_env_from() -> None:
    made = variables(
        {
            "envFrom": [{"configMapRef": {"name": "m"}, "prefix": "P_"}],
            "env": [
                {"name": "A", "value": "<$(P_k)>"}, {"name": "B", "value": "$(A)$(C)"}, {"name": "C", "value": "c"},
                {"name": "P_k", "value": "own"},
            ],
        }
    )  # fmt: skip
    assert made == {"P_k": "own", "P_raw": "\udcff\x00", "A": "<v>", "B": "<v>$(C)", "C": "c"}
    assert encode(made["P_raw"]) == b"\xff\x00"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "hello"),
        ("metadata.namespace", "default"),
        ("metadata.uid", "u-1"),
        ("metadata.labels['app']", "x"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['note']", "y"),
        ("spec.nodeName", "node1"),
        ("spec.serviceAccountName", "default"),
        ("status.hostIP", "10.1.1.1"),
        ("status.podIP", "10.85.0.7"),
        ("status.podIPs", "10.85.0.7,fd00::7"),
    ],
)
def test_fields_of_the_pod(path: str, value: str) -> None:
    assert variables({"env": [field(path)]}) == {"X": value}


def test_on_the_hosts_network_the_pods_address_is_the_hosts() -> None:
    assert variables({"env": [field("status.podIP")]}, {"hostNetwork": True}) == {"X": "10.1.1.1"}


def test_what_is_optional_may_be_missing() -> None:
    key = {"name": "X", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "nope", "optional": True}}}
    assert variables({"env": [key], "envFrom": [{"configMapRef": {"name": "nope", "optional": True}}]}) == {}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "nope"}}}]},
            r"spec.containers\[0\].env\[0\].valueFrom.configMapKeyRef: key 'nope' of ConfigMap 'm' isn't in the file",
        ),
        (
            {"env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "no", "key": "k"}}}]},
            r"spec.containers\[0\].env\[0\].valueFrom.configMapKeyRef: ConfigMap 'no' isn't in the file",
        ),
        (
            {"envFrom": [{"configMapRef": {"name": "no"}}]},
            r"spec.containers\[0\].envFrom\[0\].configMapRef: ConfigMap 'no' isn't in the file",
        ),
    ],
)
def test_what_is_missing_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=f"^{message}$"):
        variables(fields)
