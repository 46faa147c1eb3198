"""Real plugins from the reference set on the real kernel: addresses, reachability, ports, what DEL leaves."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from podwright.network import namespaces
from podwright.network.base import Bandwidth, NetworkResult, PodNetwork, PortMapping
from podwright.network.plugins import PluginFailed
from tests.root.network.site import Site, rules
from tests.support import names

pytestmark = pytest.mark.root


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(tmp_path, names.link("br"), names.network(), names.subnet())
    yield made
    await made.close()


async def greet(pod: PodNetwork, port: int) -> socket.socket:
    """A server in the pod that says hello to the first who connects."""
    assert pod.netns is not None
    server = await namespaces.run_in_netns(pod.netns, lambda: socket.create_server(("0.0.0.0", port)))
    server.setblocking(False)
    return server


async def fetch(server: socket.socket, address: str, port: int) -> bytes:
    loop = asyncio.get_running_loop()

    async def answer() -> None:
        connection, _ = await loop.sock_accept(server)
        with connection:
            await loop.sock_sendall(connection, b"hello")

    async def ask() -> bytes:
        reader, writer = await asyncio.open_connection(address, port)
        try:
            return await reader.read(5)
        finally:
            writer.close()
            await writer.wait_closed()

    async with asyncio.timeout(5):
        said, _ = await asyncio.gather(ask(), answer())
    return said


async def test_a_pod_gets_an_address_and_is_reached(site: Site) -> None:
    site.configure()
    network = site.network()
    assert network.config_name == site.name
    assert (await network.status()).ready
    pod = await site.pod()
    result = await network.add(pod)
    assert site.leases() == list(result.ips)
    assert result.ips[0].startswith(site.subnet.rsplit(".", 1)[0])
    assert [i.name for i in result.interfaces if i.sandbox] == ["eth0"]
    await network.check(pod, result)
    with await greet(pod, 8080) as server:
        assert await fetch(server, result.ips[0], 8080) == b"hello"
    await network.delete(pod, result)
    assert site.leases() == []
    await network.delete(pod, result)


async def test_two_pods_reach_each_other(site: Site) -> None:
    site.configure()
    network = site.network()
    one, two = await site.pod(), await site.pod()
    first, second = await asyncio.gather(network.add(one), network.add(two))
    assert first.ips != second.ips
    assert two.netns is not None
    with await greet(one, 8080):
        client = await namespaces.run_in_netns(two.netns, socket.socket)
        with client:
            client.settimeout(5)
            await asyncio.to_thread(client.connect, (first.ips[0], 8080))
            assert client.getpeername()[0] == first.ips[0]
    await asyncio.gather(network.delete(one, first), network.delete(two, second))
    assert site.leases() == []


async def test_host_ports(site: Site) -> None:
    site.configure()
    network = site.network()
    port = names.free_port()
    pod = await site.pod(port_mappings=(PortMapping("tcp", 8080, port), PortMapping("tcp", 9090)))
    result = await network.add(pod)
    assert len(result.executed.plugins) == 2
    assert await rules(pod.sandbox_id)
    bridge_address = next(address for address in [result.ips[0].rsplit(".", 1)[0] + ".1"])
    with await greet(pod, 8080) as server:
        assert await fetch(server, bridge_address, port) == b"hello"
        assert await fetch(server, "127.0.0.1", port) == b"hello"
    await network.delete(pod, result)
    assert await rules(pod.sandbox_id) == []


async def test_delete_after_a_crash_whose_result_was_lost(site: Site) -> None:
    site.configure(ipMasq=True)
    pod = await site.pod(port_mappings=(PortMapping("tcp", 80, names.free_port()),))
    await site.network().add(pod)
    assert await rules(pod.sandbox_id)
    await site.network().delete(pod, None)
    assert site.leases() == []
    assert await rules(pod.sandbox_id) == []
    assert pod.netns is not None
    left = await namespaces.run_in_netns(pod.netns, lambda: [name for _, name in socket.if_nameindex()])
    assert left == ["lo"]


async def test_delete_after_the_namespace_and_the_configuration_went(site: Site) -> None:
    site.configure()
    pod = await site.pod()
    stored = msgspec.json.encode(await site.network().add(pod))
    assert pod.netns is not None
    namespaces.unpin([pod.netns])
    (site.directory / "conf" / "10.conflist").unlink()
    result = msgspec.json.decode(stored, type=NetworkResult)
    await site.network().delete(pod, result)
    assert site.leases() == []


async def test_a_failed_add_frees_the_address(site: Site) -> None:
    site.configure()
    pod = await site.pod(port_mappings=(PortMapping("tcp", 80, 70000),))
    with pytest.raises(PluginFailed, match="'portmap'"):
        await site.network().add(pod)
    assert site.leases() == []
    assert (
        not os.path.exists(f"/sys/class/net/{site.bridge}/brif")
        or os.listdir(f"/sys/class/net/{site.bridge}/brif") == []
    )


async def test_a_full_subnet_says_so(site: Site) -> None:
    site.subnet = site.subnet.replace(".0/24", ".0/30")
    site.configure()
    network = site.network()
    one, two = await site.pod(), await site.pod()
    result = await network.add(one)
    with pytest.raises(PluginFailed, match="no IP addresses available"):
        await network.add(two)
    assert site.leases() == list(result.ips)
    await network.delete(one, result)


async def test_bandwidth_limits(site: Site) -> None:
    site.configure()
    network = site.network()
    pod = await site.pod(bandwidth=Bandwidth(10**6, 10**6))
    try:
        result = await network.add(pod)
    except PluginFailed as error:
        await network.delete(pod, None)
        pytest.skip(f"this kernel can't limit bandwidth: {error}")
    assert [p["type"] for p in result.executed.plugins] == ["bridge", "bandwidth"]
    await network.delete(pod, result)


async def test_the_built_in_network(site: Site) -> None:
    site.default_network = "bridge"
    network = site.network()
    assert network.config_name == "podwright"
    assert (await network.status()).ready
    pod = await site.pod(port_mappings=(PortMapping("tcp", 80),))
    result = await network.add(pod)
    assert [plugin["type"] for plugin in result.executed.plugins] == ["bridge"]
    with await greet(pod, 8080) as server:
        assert await fetch(server, result.ips[0], 8080) == b"hello"
    async with asyncio.timeout(5):
        while not (masquerade := await rules(f'oifname != "{site.bridge}"')):
            await asyncio.sleep(0.02)
    assert len(masquerade) == len(result.ips)
    assert str(network.default.subnets.current()[0]) == site.subnet
    await network.gc({pod.sandbox_id: result})
    assert site.leases() == list(result.ips)
    await network.delete(pod, result)
    assert site.leases() == []
    await network.close()
    await network.default.remove()
    await network.default.remove()
    assert await rules(site.bridge) == []
    assert not os.path.exists(f"/sys/class/net/{site.bridge}")
