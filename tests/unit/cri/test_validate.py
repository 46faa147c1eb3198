from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from podwright.base.errors import InvalidArgument
from podwright.cri import validate
from podwright.cri.image_service import credentials
from podwright.criapi import api_pb2 as pb
from tests.support.daemon import container_config, pod_config


def change_pod(change: Callable[[pb.PodSandboxConfig], object]) -> pb.PodSandboxConfig:
    config = pod_config("pod", Path("/var/log/pods/x"))
    change(config)
    return config


def change_container(change: Callable[[pb.ContainerConfig], object]) -> pb.ContainerConfig:
    config = container_config("main", "true")
    change(config)
    return config


def test_what_the_kubelet_sends_is_valid() -> None:
    validate.pod_config(pod_config("pod", Path("/var/log/pods/x")))
    validate.container_config(container_config("main", "true"))


@pytest.mark.parametrize(
    ("config", "field"),
    [
        (pb.PodSandboxConfig(), "config.metadata"),
        (change_pod(lambda c: setattr(c.metadata, "namespace", "")), "config.metadata.namespace"),
        (change_pod(lambda c: setattr(c.metadata, "uid", "")), "config.metadata.uid"),
        (change_pod(lambda c: setattr(c, "hostname", "x" * 65)), "config.hostname"),
        (change_pod(lambda c: setattr(c, "log_directory", "relative")), "config.log_directory"),
        (change_pod(lambda c: setattr(c.linux.security_context.run_as_group, "value", 5)), "run_as_group"),
        (change_pod(lambda c: setattr(c.linux.security_context.namespace_options, "pid", pb.TARGET)), "pid"),
        (
            change_pod(lambda c: c.port_mappings.append(pb.PortMapping(host_port=80, container_port=0))),
            "config.port_mappings[0].container_port",
        ),
        (change_pod(lambda c: c.port_mappings.add(host_port=65536)), "config.port_mappings[0].host_port"),
        (
            change_pod(lambda c: c.port_mappings.add(protocol=9)),
            "config.port_mappings[0].protocol",
        ),
        (
            change_pod(lambda c: setattr(c.linux.security_context.namespace_options, "ipc", 9)),
            "config.linux.security_context.namespace_options.ipc",
        ),
        (
            change_pod(lambda c: c.port_mappings.add(host_port=1, container_port=1, host_ip="all")),
            "config.port_mappings[0].host_ip",
        ),
        (change_pod(lambda c: setattr(c, "hostname", "a\nb")), "config.hostname"),
        (change_pod(lambda c: setattr(c, "hostname", "ü" * 33)), "config.hostname"),
        (change_pod(lambda c: c.dns_config.servers.append("1.1.1.1\noptions x")), "config.dns_config.servers[0]"),
    ],
)
def test_bad_pods(config: pb.PodSandboxConfig, field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        validate.pod_config(config)
    assert field in str(refused.value)


@pytest.mark.parametrize(
    ("config", "field"),
    [
        (pb.ContainerConfig(), "config.metadata"),
        (change_container(lambda c: setattr(c.image, "image", "")), "config.image.image"),
        (change_container(lambda c: setattr(c, "log_path", "../../etc/x")), "config.log_path"),
        (change_container(lambda c: setattr(c, "log_path", "/etc/x")), "config.log_path"),
        (change_container(lambda c: c.mounts.append(pb.Mount(container_path="x"))), "config.mounts[0].container_path"),
        (
            change_container(lambda c: c.mounts.append(pb.Mount(container_path="/x", host_path="y"))),
            "config.mounts[0].host_path",
        ),
        (change_container(lambda c: c.envs.append(pb.KeyValue(key="a=b"))), "config.envs[0].key"),
        (change_container(lambda c: setattr(c.linux.security_context.run_as_group, "value", 5)), "run_as_group"),
    ],
)
def test_bad_containers(config: pb.ContainerConfig, field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        validate.container_config(config)
    assert field in str(refused.value)


def test_credentials_in_every_form() -> None:
    given = credentials(pb.AuthConfig(auth=base64.b64encode(b"user:pa:ss").decode()))
    assert given is not None
    assert (given.username, given.password) == ("user", "pa:ss")
    assert credentials(pb.AuthConfig()) is None
    with pytest.raises(InvalidArgument, match=r"auth\.auth"):
        credentials(pb.AuthConfig(auth="%%%"))
    with pytest.raises(InvalidArgument, match=r"auth\.auth"):
        credentials(pb.AuthConfig(auth=base64.b64encode(b"nocolon").decode()))


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.ExecRequest(), "stdout"),
        (pb.AttachRequest(tty=True), "stdout"),
        (pb.ExecRequest(stdout=True, stderr=True, tty=True), "stderr"),
        (pb.AttachRequest(stderr=True, tty=True), "stderr"),
    ],
)
def test_streams_that_can_not_be(request_: pb.ExecRequest | pb.AttachRequest, field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        validate.streams(request_)
    assert refused.value.field == field


def test_streams_that_can_be() -> None:
    validate.streams(pb.ExecRequest(stdin=True))
    validate.streams(pb.AttachRequest(stdin=True, stdout=True, tty=True))
    validate.ports([])
    validate.ports([1, 65535])
