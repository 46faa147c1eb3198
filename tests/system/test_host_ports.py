"""Host ports through the socket: by our own rules on the built-in network, by portmap on a configured one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from podwright.criapi import api_pb2 as pb
from podwright.linux.nftables import Nftables
from podwright.network.host_ports import table_name
from tests.support import names
from tests.support.daemon import Daemon, serving

pytestmark = pytest.mark.root


@pytest.fixture(params=["built-in", "portmap"])
def daemon(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Daemon]:
    """With no CNI configuration, and with one that has the portmap plugin."""
    server = Daemon(tmp_path, runtime="crun", cni=request.param == "portmap")
    with server.config.open("a") as config:
        config.write(f'[network]\ndefault_bridge = "{server.bridge}"\ndefault_subnet = "{names.subnet()}"\n')
    with serving(server):
        yield server
    assert rules(server) == ""


def rules(daemon: Daemon) -> str:
    tables = Nftables().apply("list tables")
    return "".join(line for line in tables.splitlines() if table_name(daemon.run) in line or daemon.bridge in line)


def run_web(daemon: Daemon, name: str, port: int, *, host_ip: str = "") -> str:
    mapping = pb.PortMapping(protocol=pb.TCP, container_port=8080, host_port=port, host_ip=host_ip)
    pod = daemon.run_pod(name, port_mappings=[mapping])
    daemon.run_container(pod, "sh", "-c", f"echo {name} > /www/index.html; exec httpd -f -p 8080 -h /www")
    return pod


def page(daemon: Daemon, port: int, address: str = "127.0.0.1") -> str:
    """What the pod serves; "" while nobody listens at the port."""
    try:
        with socket.create_connection((address, port), timeout=5) as connection:
            connection.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
            answer = b""
            while chunk := connection.recv(4096):
                answer += chunk
    except ConnectionRefusedError:
        return ""
    return answer.decode().rpartition("\r\n")[2].strip()


def test_ports_outlive_the_daemon_and_end_with_the_pod(daemon: Daemon) -> None:
    first, second = names.free_port(), names.free_port()
    one, two = run_web(daemon, "one", first), run_web(daemon, "two", second)
    daemon.wait_until(lambda: (page(daemon, first), page(daemon, second)) == ("one", "two"))
    daemon.kill()
    assert page(daemon, first) == "one"
    daemon.start()
    assert (page(daemon, first), page(daemon, second)) == ("one", "two")
    assert page(daemon, first, str(daemon.pod_status(one).network.ip).rpartition(".")[0] + ".1") == "one"
    daemon.stop_pod(one)
    assert (page(daemon, first), page(daemon, second)) == ("", "two")
    daemon.remove_pod(one)
    daemon.restart()
    assert (page(daemon, first), page(daemon, second)) == ("", "two")
    daemon.remove_pod(two)
    assert page(daemon, second) == ""


def test_a_port_that_is_held(daemon: Daemon) -> None:
    port = names.free_port()
    holder = run_web(daemon, "holder", port, host_ip="127.0.0.1")
    with pytest.raises(grpc.RpcError, match=f"host port {port}/tcp is held by pod test/holder") as refused:
        run_web(daemon, "second", port)
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert [pod.id for pod in daemon.pods()] == [holder]
    daemon.run_pod("elsewhere", host_network=True, port_mappings=[pb.PortMapping(host_port=port, container_port=port)])
    daemon.stop_pod(holder)
    second = run_web(daemon, "second", port)
    daemon.wait_until(lambda: page(daemon, port) == "second")
    daemon.remove_pod(holder)
    assert page(daemon, port) == "second"
    daemon.remove_pod(second)
