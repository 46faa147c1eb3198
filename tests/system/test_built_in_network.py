"""The built-in network through the socket: both families, what a restart remembers, the cluster's pod CIDR."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from podwright.criapi import api_pb2 as pb
from tests.support import names
from tests.support.daemon import Daemon, serving

pytestmark = pytest.mark.root


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    server = Daemon(tmp_path, runtime="crun", cni=False)
    with server.config.open("a") as config:
        config.write(f'[network]\ndefault_bridge = "{server.bridge}"\ndefault_subnet = "{names.subnet()}"\n')
    with serving(server):
        yield server
    assert not Path("/sys/class/net", server.bridge).exists()


def answers(address: str) -> bool:
    try:
        socket.create_connection((address, 8080), timeout=5).close()
    except OSError:
        return False
    return True


def addresses(status: pb.PodSandboxStatus) -> list[str]:
    return [status.network.ip, *(other.ip for other in status.network.additional_ips)]


def test_a_pod_has_an_address_of_each_family(daemon: Daemon) -> None:
    pod = daemon.run_pod("two-fold")
    before = addresses(daemon.pod_status(pod))
    assert [ipaddress.ip_address(address).version for address in before] == [4, 6]
    container = daemon.run_container(pod, "sleep", "1000")
    hosts = daemon.exec(container, "cat", "/etc/hosts").stdout.decode()
    for address in before:
        assert f"{address}\ttwo-fold\n" in hosts
    shown = daemon.exec(container, "cat", "/proc/net/if_inet6").stdout.decode()
    for address in (before[1], "::1"):
        assert ipaddress.IPv6Address(address).packed.hex() in shown
    daemon.run_container(pod, "httpd", "-f", "-p", "8080", "-h", "/www", name="web")
    for address in before:
        daemon.wait_until(lambda address=address: answers(address))  # type: ignore[misc]
    daemon.kill()
    daemon.start()
    assert addresses(daemon.pod_status(pod)) == before
    daemon.stop_pod(pod)
    assert addresses(daemon.pod_status(pod)) == before


def update(daemon: Daemon, cidr: str) -> None:
    config = pb.RuntimeConfig(network_config=pb.NetworkConfig(pod_cidr=cidr))
    daemon.runtime.UpdateRuntimeConfig(pb.UpdateRuntimeConfigRequest(runtime_config=config))


def test_the_cluster_gives_the_subnet(daemon: Daemon) -> None:
    cidr = names.subnet()
    update(daemon, "")
    update(daemon, cidr)
    with pytest.raises(grpc.RpcError, match=r"runtime_config\.network_config\.pod_cidr") as refused:
        update(daemon, "10.0.0.0/8/8")
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    daemon.restart()
    pod = daemon.run_pod()
    (address,) = addresses(daemon.pod_status(pod))
    assert ipaddress.ip_address(address) in ipaddress.ip_network(cidr)
