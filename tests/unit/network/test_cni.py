"""Lists of plugins: order, what each is given, failure and undo, what is remembered for DEL."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from podwright.base.errors import DeadlineExceeded, FailedPrecondition, Internal, InvalidArgument
from podwright.network.base import Network, NetworkNotReady, NetworkResult, PortMapping
from podwright.network.cni import CniNetwork
from podwright.network.plugins import PluginFailed, PluginMissing
from tests.unit.network.fakes import FakePlugins, pod, result

CAPABLE = {"type": "second", "capabilities": {"portMappings": True}, "own": 1}


@pytest.fixture
def two(plugins: FakePlugins) -> FakePlugins:
    plugins.install("first", result())
    plugins.install("second", result("10.1.2.4/24"))
    plugins.configure({"type": "first"}, CAPABLE)
    return plugins


async def test_add_runs_the_list_in_order(two: FakePlugins) -> None:
    network: Network = two.network()
    got = await network.add(pod(port_mappings=(PortMapping("tcp", 80, 8080),)))
    assert two.calls == ["ADD first", "ADD second"]
    assert got.ips == ("10.1.2.4",)
    assert [i.name for i in got.interfaces] == ["veth1", "eth0"]
    assert two.stdin("first", "ADD") == {"type": "first", "name": "net", "cniVersion": "1.0.0"}
    assert two.stdin("second", "ADD") == {
        "type": "second", "own": 1, "name": "net", "cniVersion": "1.0.0", "prevResult": result(),
        "runtimeConfig": {
            "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": ""}]
        },
    }  # fmt: skip
    assert two.env("second", "ADD") == {
        "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "a" * 64, "CNI_IFNAME": "eth0", "CNI_NETNS": "/proc/self/ns/net",
        "CNI_PATH": str(two.bin),
        "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;"
        f"K8S_POD_INFRA_CONTAINER_ID={'a' * 64};K8S_POD_UID=uid-1",
    }  # fmt: skip


async def test_delete_runs_what_add_ran_whatever_the_files_say_now(two: FakePlugins) -> None:
    network = two.network()
    stored = msgspec.json.encode(await network.add(pod()))
    two.install("third")
    two.configure({"type": "third"})
    got = msgspec.json.decode(stored, type=NetworkResult)
    await two.network().delete(pod(netns=None), got)
    assert two.calls[2:] == ["DEL second", "DEL first"]
    request = two.stdin("first", "DEL")
    assert request["prevResult"] == got.executed.result == result("10.1.2.4/24")
    assert two.env("first", "DEL")["CNI_NETNS"] == ""


async def test_delete_with_a_namespace_that_is_gone(two: FakePlugins, tmp_path: Path) -> None:
    network = two.network()
    got = await network.add(pod())
    (tmp_path / "netns").touch()  # the file is left, the namespace isn't mounted on it
    await network.delete(pod(netns=tmp_path / "netns"), got)
    assert two.env("first", "DEL")["CNI_NETNS"] == ""


async def test_delete_without_a_result_uses_the_current_list(two: FakePlugins) -> None:
    await two.network().delete(pod(port_mappings=(PortMapping("tcp", 80, 8080),)), None)
    assert two.calls == ["DEL second", "DEL first"]
    assert "prevResult" not in two.stdin("first", "DEL")
    assert two.stdin("second", "DEL")["runtimeConfig"]["portMappings"]


async def test_delete_without_any_configuration_is_done(plugins: FakePlugins) -> None:
    await plugins.network().delete(pod(), None)


async def test_delete_stops_at_an_error_and_can_be_asked_again(two: FakePlugins) -> None:
    network = two.network()
    got = await network.add(pod())
    two.fail("second", "DEL", code=11, msg="busy")
    with pytest.raises(PluginFailed, match=r"busy \(code 11: try again later\)"):
        await network.delete(pod(), got)
    assert two.calls[2:] == ["DEL second"]
    two.script("second", "DEL", "")
    await network.delete(pod(), got)
    await network.delete(pod(), got)


async def test_delete_of_a_pod_that_a_plugin_does_not_know(two: FakePlugins) -> None:
    two.fail("second", "DEL", code=3, msg="unknown container")
    await two.network().delete(pod(), None)
    assert two.calls == ["DEL second", "DEL first"]


async def test_a_failed_add_is_deleted_again(two: FakePlugins) -> None:
    two.fail("second", "ADD", code=100, msg="out of luck")
    with pytest.raises(PluginFailed, match=r"'second' of network 'net' .*10-net\.conflist.*: ADD failed: out of luck"):
        await two.network().add(pod())
    assert two.calls == ["ADD first", "ADD second", "DEL second", "DEL first"]
    assert "prevResult" not in two.stdin("first", "DEL")


async def test_an_add_that_gives_no_address_is_deleted_again(plugins: FakePlugins) -> None:
    plugins.install("first", {"cniVersion": "1.0.0"})
    plugins.configure({"type": "first"})
    with pytest.raises(Internal, match="gave the pod no address"):
        await plugins.network().add(pod())
    assert plugins.calls == ["ADD first", "DEL first"]


async def test_an_add_that_hangs_is_killed_and_deleted_again(two: FakePlugins) -> None:
    two.script("second", "ADD", "sleep 100")
    with pytest.raises(DeadlineExceeded, match="'second'"):
        await two.network(plugin_timeout_s=0.3).add(pod())
    assert two.calls[2:] == ["DEL second", "DEL first"]


async def test_a_cancelled_add_is_deleted_again(two: FakePlugins) -> None:
    two.script("second", "ADD", "sleep 100")
    adding = asyncio.gather(two.network().add(pod()))
    while "ADD second" not in two.calls:
        await asyncio.sleep(0.01)
    adding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adding
    while "DEL first" not in two.calls:
        await asyncio.sleep(0.01)
    while len(asyncio.all_tasks()) > 1:  # the shielded undo ends
        await asyncio.sleep(0.01)


async def test_an_old_plugin_in_a_newer_list(plugins: FakePlugins) -> None:
    plugins.install("first", {"cniVersion": "0.2.0", "ip4": {"ip": "10.1.2.3/24"}})
    plugins.install("second", result())
    plugins.configure({"type": "first"}, {"type": "second"}, version="0.4.0")
    await plugins.network().add(pod())
    previous = plugins.stdin("second", "ADD")["prevResult"]
    assert previous["cniVersion"] == "0.4.0"
    assert previous["ips"] == [{"version": "4", "address": "10.1.2.3/24", "gateway": ""}]


async def test_lists_before_0_4_get_no_previous_result_at_del(plugins: FakePlugins) -> None:
    plugins.install("first", result(version="0.3.1"))
    plugins.configure({"type": "first"}, version="0.3.1")
    network = plugins.network()
    got = await network.add(pod())
    await network.check(pod(), got)
    await network.delete(pod(), got)
    assert plugins.calls == ["ADD first", "DEL first"]
    assert "prevResult" not in plugins.stdin("first", "DEL")


async def test_plugins_without_work_are_left_out(plugins: FakePlugins) -> None:
    plugins.install("first", result())
    plugins.install("portmap", result())
    plugins.configure({"type": "first"}, {"type": "portmap", "capabilities": {"portMappings": True}})
    network = plugins.network()
    await network.delete(pod(), await network.add(pod(port_mappings=(PortMapping("tcp", 80),))))
    assert plugins.calls == ["ADD first", "DEL first"]
    with_port = pod(port_mappings=(PortMapping("tcp", 80, 8080),))
    await network.delete(with_port, await network.add(with_port))
    assert plugins.calls[2:] == ["ADD first", "ADD portmap", "DEL portmap", "DEL first"]


async def test_no_configuration(plugins: FakePlugins) -> None:
    network = plugins.network()
    with pytest.raises(NetworkNotReady, match=f"no CNI configuration in {plugins.conf}"):
        await network.add(pod())
    status = await network.status()
    assert (status.ready, status.reason) == (False, "NetworkPluginNotReady")
    assert network.config_name == ""


async def test_a_broken_configuration_is_not_replaced_by_the_built_in_one(plugins: FakePlugins) -> None:
    (plugins.conf / "10.conflist").write_text("{")
    network = plugins.network(default_network="bridge")
    status = await network.status()
    assert not status.ready
    assert "10.conflist: it is not JSON" in status.message
    with pytest.raises(NetworkNotReady, match=r"10\.conflist"):
        await network.add(pod())


async def test_a_pod_without_a_namespace(two: FakePlugins, tmp_path: Path) -> None:
    for netns in (None, tmp_path, tmp_path / "missing"):
        with pytest.raises(FailedPrecondition, match="pod shop/web has no network namespace"):
            await two.network().add(pod(netns=netns))
    assert two.calls == []


async def test_names_that_would_end_an_argument(two: FakePlugins) -> None:
    with pytest.raises(InvalidArgument, match="K8S_POD_NAME"):
        await two.network().add(pod(name="a;IP=10.0.0.1"))


async def test_check_runs_in_order_with_the_result(two: FakePlugins) -> None:
    network = two.network()
    got = await network.add(pod())
    await network.check(pod(), got)
    assert two.calls[2:] == ["CHECK first", "CHECK second"]
    assert two.stdin("first", "CHECK")["prevResult"] == got.executed.result
    two.fail("first", "CHECK", code=101, msg="gone")
    with pytest.raises(PluginFailed, match="gone"):
        await network.check(pod(), got)


async def test_a_missing_plugin_makes_the_network_not_ready(two: FakePlugins) -> None:
    network = two.network()
    assert (await network.status()).ready
    two.configure({"type": "first", "ipam": {"type": "host-local"}})
    status = await network.status()
    assert not status.ready
    assert "CNI plugin 'host-local'" in status.message
    (two.bin / "first").unlink()
    with pytest.raises(PluginMissing):
        await network.add(pod())


class TestVersion11:
    """STATUS and GC came with 1.1."""

    @pytest.fixture
    def new(self, plugins: FakePlugins) -> FakePlugins:
        plugins.install("first", result(version="1.1.0"))
        plugins.configure({"type": "first", "capabilities": {"dns": True}}, version="1.1.0")
        return plugins

    async def test_status_is_asked_and_kept(self, new: FakePlugins) -> None:
        network = new.network(status_interval_s=0.2)
        assert (await network.status()).ready
        new.fail("first", "STATUS", code=50, msg="daemon down")
        assert (await network.status()).ready
        assert new.calls == ["STATUS first"]
        assert new.stdin("first", "STATUS") == {"type": "first", "name": "net", "cniVersion": "1.1.0"}
        await asyncio.sleep(0.25)
        status = await network.status()
        assert not status.ready
        assert "daemon down (code 50: the plugin is not available)" in status.message
        await network.close()

    async def test_a_slow_status_holds_nobody_up(self, new: FakePlugins) -> None:
        new.script("first", "STATUS", "sleep 100")
        network = new.network(plugin_timeout_s=30)
        started = asyncio.get_running_loop().time()
        status = await network.status()
        assert asyncio.get_running_loop().time() - started < 2
        assert not status.ready
        assert "not answered STATUS yet" in status.message
        await network.close()

    async def test_gc_names_the_valid_attachments(self, new: FakePlugins) -> None:
        network = new.network()
        got = await network.add(pod())
        await network.gc({"a" * 64: got})
        assert new.calls == ["ADD first", "GC first"]
        wanted = [{"containerID": "a" * 64, "ifname": "eth0"}]
        request = new.stdin("first", "GC")
        assert request["cni.dev/valid-attachments"] == request["cni.dev/attachments"] == wanted
        assert "prevResult" not in request
        assert new.env("first", "GC") == {"CNI_COMMAND": "GC", "CNI_PATH": str(new.bin)}

    async def test_gc_failures_are_not_the_callers(self, new: FakePlugins) -> None:
        new.fail("first", "GC", code=5, msg="disk")
        await new.network().gc({})
        assert new.calls == ["GC first"]

    async def test_gc_waits_for_add_and_holds_off_the_next(self, new: FakePlugins) -> None:
        new.script("first", "ADD", "sleep 0.2; echo 'ADD ended' >> $here/calls")
        network = new.network()
        first = asyncio.gather(network.add(pod(sandbox_id="b" * 64)))
        while not new.calls:
            await asyncio.sleep(0.01)
        collecting = asyncio.gather(network.gc({}))
        await asyncio.sleep(0)
        await network.add(pod(sandbox_id="c" * 64))
        await asyncio.gather(first, collecting)
        assert new.calls == ["ADD first", "ADD ended", "GC first", "ADD first", "ADD ended"]

    async def test_older_lists_have_no_gc(self, two: FakePlugins) -> None:
        await two.network().gc({})
        assert two.calls == []


async def test_a_pod_may_have_a_directory_of_its_own(two: FakePlugins) -> None:
    """Its network comes from there alone; garbage is collected in both."""
    own = two.log / "own"
    own.mkdir()
    network = CniNetwork(two.settings(), two.log, [own])
    with pytest.raises(NetworkNotReady, match=f"no CNI configuration in {own}"):
        await network.add(pod(conf_dir=own))
    two.install("third", result("10.9.0.2/24", version="1.1.0"))
    (own / "a.conf").write_text('{"cniVersion": "1.1.0", "name": "other", "type": "third"}')
    assert (await network.add(pod(conf_dir=own))).ips == ("10.9.0.2",)
    assert (await network.add(pod())).ips == ("10.1.2.4",)
    assert two.calls == ["ADD third", "ADD first", "ADD second"]
    await network.delete(pod(conf_dir=own), None)
    await network.gc({})
    assert two.calls[3:] == ["DEL third", "GC third"], "the node's configuration is too old for GC"
    (own / "a.conf").write_text("{")
    with pytest.raises(NetworkNotReady, match=r"no valid CNI configuration: .*own/a\.conf"):
        network.require(pod(conf_dir=own))
    await network.close()
