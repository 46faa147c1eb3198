"""Which host ports of two pods collide, and how long a pod holds its own."""

from __future__ import annotations

from typing import Any

import pytest

from podwright.base.errors import FailedPrecondition
from podwright.criapi import api_pb2 as pb
from podwright.sandbox.model import Sandbox, SandboxRecord
from podwright.sandbox.ports import check_host_ports
from podwright.state.boot import boot_id


def config(*mappings: pb.PortMapping, network: int = pb.POD) -> pb.PodSandboxConfig:
    options = pb.NamespaceOption(network=network)  # type: ignore[arg-type]
    return pb.PodSandboxConfig(
        metadata=pb.PodSandboxMetadata(name="web", namespace="shop"), port_mappings=mappings,
        linux=pb.LinuxPodSandboxConfig(security_context=pb.LinuxSandboxSecurityContext(namespace_options=options)),
    )  # fmt: skip


def port(number: int = 80, host_ip: str = "", protocol: int = pb.TCP) -> pb.PortMapping:
    return pb.PortMapping(protocol=protocol, container_port=8080, host_port=number, host_ip=host_ip)  # type: ignore[arg-type]


def pod(wanted: pb.PodSandboxConfig, **facts: Any) -> Sandbox:
    return Sandbox(
        SandboxRecord(
            **{"id": "a" * 64, "config": wanted.SerializeToString(), "handler": "", "created_at": 1, "boot": boot_id(),
               "network_asked_at": 1, **facts}
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        ("", ""), ("", "10.0.0.1"), ("10.0.0.1", ""), ("", "::1"), ("0.0.0.0", "10.0.0.1"), ("10.0.0.1", "0.0.0.0"),
        ("::", "fd00::1"), ("", "0.0.0.0"), ("::", ""), ("10.0.0.1", "10.0.0.1"),
    ],
)  # fmt: skip
def test_what_collides(held: str, wanted: str) -> None:
    with pytest.raises(FailedPrecondition, match=r"80/tcp is held by pod shop/web \(aaaaaaaaaaaaa, not removed"):
        check_host_ports(config(port(host_ip=wanted)), [pod(config(port(host_ip=held)))])


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        (port(host_ip="10.0.0.1"), port(host_ip="10.0.0.2")), (port(host_ip="0.0.0.0"), port(host_ip="::")),
        (port(host_ip="::"), port(host_ip="10.0.0.1")), (port(), port(81)), (port(), port(protocol=pb.UDP)),
        (port(0), port(0)),
    ],
)  # fmt: skip
def test_what_does_not(held: pb.PortMapping, wanted: pb.PortMapping) -> None:
    check_host_ports(config(wanted), [pod(config(held))])
    check_host_ports(config(held), [pod(config(wanted))])


def test_pods_on_the_hosts_network_have_none() -> None:
    check_host_ports(config(port(), network=pb.NODE), [pod(config(port()))])
    check_host_ports(config(port()), [pod(config(port(), network=pb.NODE))])


@pytest.mark.parametrize(
    "facts", [{"network_released_at": 2}, {"boot": "another"}, {"stopped_at": 2, "network_asked_at": 0}]
)
def test_who_has_left(facts: dict[str, Any]) -> None:
    check_host_ports(config(port()), [pod(config(port()), **facts)])


@pytest.mark.parametrize("facts", [{"stopped_at": 2}, {"network_asked_at": 0}])
def test_who_has_not_left(facts: dict[str, Any]) -> None:
    with pytest.raises(FailedPrecondition, match=r"\[fd00::1\]:80/udp is held"):
        check_host_ports(
            config(port(host_ip="fd00::1", protocol=pb.UDP)), [pod(config(port(protocol=pb.UDP)), **facts)]
        )
