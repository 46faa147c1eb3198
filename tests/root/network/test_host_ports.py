"""Host ports by our own rules, with traffic from everywhere: loopback, the host, the pod itself, others, elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import ipaddress
import secrets
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from podwright.base.errors import InvalidArgument
from podwright.linux import process
from podwright.linux.nftables import Nftables
from podwright.network import namespaces
from podwright.network.base import NetworkResult, PodNetwork, PortMapping
from podwright.network.cni import CniNetwork
from podwright.network.host_port_rules import removal
from podwright.network.host_ports import table_name
from tests.root.network import traffic
from tests.root.network.site import Site, rules
from tests.support import names

pytestmark = pytest.mark.root


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A dual-stack bridge whose plugins map no ports."""
    made = Site(tmp_path, names.link("br"), names.network(), names.subnet())
    made.subnet6 = f"fd{secrets.token_hex(1)}:{secrets.token_hex(2)}:{secrets.token_hex(2)}::/64"
    made.configure(portmap=False)
    forwarding = Path("/proc/sys/net/ipv6/conf/all/forwarding")
    before = forwarding.read_text()
    # Without this the bridge has no IPv6 address for its first second: nobody else may claim one here.
    await process.run(["ip", "link", "add", made.bridge, "type", "bridge"], timeout_s=10)
    Path(f"/proc/sys/net/ipv6/conf/{made.bridge}/accept_dad").write_text("0")
    try:
        yield made
        assert await rules(table_name(tmp_path)) == []
    finally:
        Nftables().apply(removal(table_name(tmp_path)))
        await made.close()
        forwarding.write_text(before)


@pytest.fixture
async def network(site: Site) -> AsyncIterator[CniNetwork]:
    made = site.network()
    yield made
    await made.remove_idle()
    await made.close()


def gateway(site: Site, version: int = 4) -> str:
    """An address of the host, in the pods' subnet."""
    return str(ipaddress.ip_network(site.subnet if version == 4 else site.subnet6)[1])


@pytest.fixture
async def outside(site: Site) -> AsyncIterator[tuple[Path, str, str]]:
    """A machine on a link of its own: its namespace, its address, and the host's on that link."""
    netns, link = site.directory / "pods" / "outside", names.link("o")
    theirs, ours = "198.18.77.2", "198.18.77.1"
    await namespaces.pin({"net": netns})
    ip = "nsenter", f"--net={netns}", "ip"
    for command in (
        ("ip", "link", "add", link, "type", "veth", "peer", "name", "up0", "netns", str(netns)),
        ("ip", "address", "add", f"{ours}/30", "dev", link),
        ("ip", "link", "set", link, "up"),
        (*ip, "address", "add", f"{theirs}/30", "dev", "up0"),
        (*ip, "link", "set", "up0", "up"),
        (*ip, "route", "add", "default", "via", ours),
    ):
        await process.run(command, timeout_s=10)
    yield netns, theirs, ours
    await process.run(["ip", "link", "delete", link], timeout_s=10)


async def with_port(site: Site, network: CniNetwork, *mappings: PortMapping) -> tuple[PodNetwork, NetworkResult]:
    pod = await site.pod(port_mappings=mappings)
    return pod, await network.add(pod)


async def test_tcp_from_everywhere(site: Site, network: CniNetwork, outside: tuple[Path, str, str]) -> None:
    port = names.free_port()
    pod, result = await with_port(site, network, PortMapping("tcp", 8080, port), PortMapping("tcp", 9090))
    other, other_result = await with_port(site, network)
    v4, v6 = result.ips
    async with traffic.tcp_server(pod.netns, 8080):
        for address in ("127.0.0.1", gateway(site)):
            assert await traffic.ask_tcp(address, port) == gateway(site)
        assert await traffic.ask_tcp(gateway(site, 6), port) == gateway(site, 6)
        # Answers to the pod itself and to its neighbours have to come back through the host.
        for asking in (pod, other):
            assert await traffic.ask_tcp(gateway(site), port, asking.netns) == gateway(site)
            assert await traffic.ask_tcp(gateway(site, 6), port, asking.netns) == gateway(site, 6)
            assert await traffic.ask_tcp(v4, 8080, asking.netns) == (v4 if asking is pod else other_result.ips[0])
        there, theirs, ours = outside
        assert await traffic.ask_tcp(ours, port, there) == theirs, "who asks from elsewhere is seen as it is"
    with pytest.raises(ConnectionRefusedError):
        await traffic.ask_tcp(gateway(site), port)
    await network.delete(pod, result)
    await network.delete(other, other_result)
    assert [forward.address for forward in result.forwards] == [v4, v6]


async def test_udp_flows_follow_the_pods(site: Site, network: CniNetwork) -> None:
    port = names.free_port(kind=socket.SOCK_DGRAM)
    mapping = PortMapping("udp", 5353, port)
    async with traffic.udp_client() as client:
        with pytest.raises(TimeoutError):  # the flow begins while nobody is there
            await traffic.ask_udp(client, "127.0.0.1", port, timeout_s=0.05)
        for _ in range(2):
            pod, result = await with_port(site, network, mapping)
            async with traffic.udp_server(pod.netns, 5353):
                async with asyncio.timeout(traffic.TIMEOUT_S):
                    while True:  # the flow is forgotten in the background
                        try:
                            seen = await traffic.ask_udp(client, "127.0.0.1", port, timeout_s=0.1)
                            break
                        except TimeoutError:
                            continue
                assert seen == gateway(site)
            await network.delete(pod, result)
            with pytest.raises(TimeoutError):
                await traffic.ask_udp(client, "127.0.0.1", port, timeout_s=0.05)


async def test_udp_over_ipv6(site: Site, network: CniNetwork) -> None:
    port = names.free_port(kind=socket.SOCK_DGRAM)
    pod, result = await with_port(site, network, PortMapping("udp", 5353, port))
    async with (
        traffic.udp_server(pod.netns, 5353, socket.AF_INET6),
        traffic.udp_client(None, socket.AF_INET6) as client,
    ):
        assert await traffic.ask_udp(client, gateway(site, 6), port) == gateway(site, 6)
    await network.delete(pod, result)


async def test_the_ipv6_loopback_refuses_at_once(site: Site, network: CniNetwork) -> None:
    """What `localhost` means first: a client must not wait for an answer that the kernel would drop."""
    port = names.free_port()
    pod, result = await with_port(site, network, PortMapping("tcp", 80, port))
    with pytest.raises(ConnectionRefusedError):
        await traffic.ask_tcp("::1", port)
    await network.delete(pod, result)
    with pytest.raises(InvalidArgument, match="IPv6's loopback"):
        network.require(await site.pod(port_mappings=(PortMapping("tcp", 80, port, "::1"),)))


async def test_sctp(site: Site, network: CniNetwork, outside: tuple[Path, str, str]) -> None:
    """With raw sockets, since the kernel may have no SCTP of its own; connection tracking and DNAT have it."""
    there, theirs, ours = outside
    pod, result = await with_port(site, network, PortMapping("sctp", 36412, 36999))
    with await traffic.raw_sctp(pod.netns) as receiver, await traffic.raw_sctp(there) as sender:
        sender.sendto(traffic.sctp_init(40000, 36999), (ours, 0))
        assert await traffic.receive_sctp(receiver) == (theirs, 36412)
    await network.delete(pod, result)


async def test_a_host_ip_is_the_only_one(site: Site, network: CniNetwork, outside: tuple[Path, str, str]) -> None:
    there, theirs, ours = outside
    port = names.free_port()
    mappings = (
        PortMapping("tcp", 8080, port, ours),
        PortMapping("tcp", 8081, port, "127.0.0.1"),
        PortMapping("tcp", 8082, port, gateway(site, 6)),
    )
    pod, result = await with_port(site, network, *mappings)
    async with (
        traffic.tcp_server(pod.netns, 8080), traffic.tcp_server(pod.netns, 8081), traffic.tcp_server(pod.netns, 8082)
    ):  # fmt: skip
        assert await traffic.ask_tcp(ours, port, there) == theirs
        assert await traffic.ask_tcp("127.0.0.1", port) == gateway(site)
        assert await traffic.ask_tcp(gateway(site, 6), port) == gateway(site, 6)
        with pytest.raises(ConnectionRefusedError):
            await traffic.ask_tcp(gateway(site), port, pod.netns)
    assert [(f.host_ip, f.port) for f in result.forwards] == [
        (ours, 8080), ("127.0.0.1", 8081), (gateway(site, 6), 8082),
    ]  # fmt: skip
    await network.delete(pod, result)


async def test_any_address_of_one_family(site: Site, network: CniNetwork) -> None:
    port = names.free_port()
    four, first = await with_port(site, network, PortMapping("tcp", 80, port, "0.0.0.0"))
    six, second = await with_port(site, network, PortMapping("tcp", 80, port, "::"))
    async with traffic.tcp_server(four.netns, 80):
        assert await traffic.ask_tcp("127.0.0.1", port) == gateway(site)
        with pytest.raises(ConnectionRefusedError):
            await traffic.ask_tcp(gateway(site, 6), port)
    await network.delete(four, first)
    await network.delete(six, second)


async def test_the_hosts_loopback_stays_closed_to_pods(site: Site, network: CniNetwork) -> None:
    """127.0.0.1:PORT needs route_localnet on the bridge, which alone would let pods in. CVE-2020-8558"""
    pod, result = await with_port(site, network, PortMapping("tcp", 80, names.free_port()))
    setting = Path(f"/proc/sys/net/ipv4/conf/{site.bridge}/route_localnet")
    assert setting.read_text() == "1\n"
    inside = "nsenter", f"--net={pod.netns}"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        assert pod.netns is not None
        for command in (
            (*inside, "ip", "route", "del", "local", "127.0.0.0/8", "dev", "lo", "table", "local"),
            (*inside, "ip", "route", "del", "local", "127.0.0.1", "dev", "lo", "table", "local"),
            (*inside, "ip", "route", "add", "127.0.0.0/8", "via", gateway(site), "dev", "eth0"),
        ):
            await process.run(command, timeout_s=10, check=False)
        await namespaces.run_in_netns(
            pod.netns, lambda: Path("/proc/sys/net/ipv4/conf/eth0/route_localnet").write_text("1")
        )
        async with traffic.udp_client(pod.netns) as client:
            client.bind((result.ips[0], 0))
            client.sendto(b"in?", server.getsockname())
            guard = Nftables().apply(f"list chain inet {table_name(site.directory)} guard")
            assert "drop" in guard
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await asyncio.get_running_loop().sock_recv(server, 10)
    await network.delete(pod, result)
    assert setting.read_text() == "0\n", "nobody needs it any more"


async def test_a_restart_keeps_the_ports_of_pods_and_no_others(site: Site, network: CniNetwork) -> None:
    ports = [names.free_port() for _ in range(2)]
    (kept, kept_result), (lost, lost_result) = [
        await with_port(site, network, PortMapping("tcp", 8080, port)) for port in ports
    ]
    await network.close()
    again = site.network()
    await again.gc({kept.sandbox_id: kept_result})
    async with traffic.tcp_server(kept.netns, 8080), traffic.tcp_server(lost.netns, 8080):
        assert await traffic.ask_tcp("127.0.0.1", ports[0]) == gateway(site)
        with pytest.raises(ConnectionRefusedError):
            await traffic.ask_tcp("127.0.0.1", ports[1])
        assert kept.netns is not None
        namespaces.unpin([kept.netns])
    await again.delete(kept, kept_result)
    await again.delete(lost, lost_result)
    await again.remove_idle()
    await again.close()


async def test_a_flushed_ruleset_is_written_anew(site: Site, network: CniNetwork) -> None:
    port = names.free_port()
    pod, result = await with_port(site, network, PortMapping("tcp", 8080, port))
    flush = removal(table_name(site.directory))
    async with traffic.tcp_server(pod.netns, 8080):
        Nftables().apply(flush)
        await network.host_ports.check()
        assert await traffic.ask_tcp("127.0.0.1", port) == gateway(site)
        Nftables().apply(flush)
        other, other_result = await with_port(site, network, PortMapping("tcp", 8080, names.free_port()))
        assert await traffic.ask_tcp("127.0.0.1", port) == gateway(site)
    Nftables().apply(flush)
    await network.delete(other, other_result)
    await network.delete(pod, result)


async def test_daemons_keep_to_their_own_tables(site: Site, network: CniNetwork, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = CniNetwork(dataclasses.replace(site.settings(), default_bridge=""), tmp_path / "other")
    port = names.free_port()
    pod, result = await with_port(site, network, PortMapping("tcp", 8080, port))
    await other.gc({})
    await other.remove_idle()
    async with traffic.tcp_server(pod.netns, 8080):
        assert await traffic.ask_tcp("127.0.0.1", port) == gateway(site)
    await other.close()
    await network.delete(pod, result)


async def test_a_pod_whose_network_failed_leaves_no_port(site: Site, network: CniNetwork) -> None:
    pod = await site.pod(port_mappings=(PortMapping("tcp", 80, 70000),))
    with pytest.raises(Exception, match="nftables"):
        await network.add(pod)
    assert site.leases() == []
    assert await rules("70000") == []


async def test_a_cancelled_pod_leaves_no_port(site: Site, network: CniNetwork) -> None:
    for moment in range(12):
        pod = await site.pod(port_mappings=(PortMapping("tcp", 80, 36998),))
        adding = asyncio.gather(network.add(pod), return_exceptions=True)
        await asyncio.sleep(0.002 * moment)
        adding.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await adding
        while len(asyncio.all_tasks() - looking_after()) > 1:  # the undo ends
            await asyncio.sleep(0.01)
        await network.delete(pod, None)
        assert await rules("36998") == []
    assert site.leases() == []


def looking_after() -> set[asyncio.Task[object]]:
    return {task for task in asyncio.all_tasks() if task.get_name() == "host ports/look after"}


async def test_a_port_twice_in_one_pod(site: Site, network: CniNetwork) -> None:
    port = names.free_port()
    mapping = PortMapping("tcp", 8080, port)
    pod, result = await with_port(site, network, mapping, mapping)
    async with traffic.tcp_server(pod.netns, 8080):
        assert await traffic.ask_tcp("127.0.0.1", port) == gateway(site)
    await network.delete(pod, result)
    with pytest.raises(InvalidArgument, match=f"host port {port}/tcp"):
        await with_port(site, network, mapping, PortMapping("tcp", 8081, port))
