"""What pods ask for, in the shapes that plugins take."""

from __future__ import annotations

import pytest

from podwright.base.errors import InvalidArgument
from podwright.network.base import Bandwidth, PodDns, PortMapping
from podwright.network.capabilities import arguments, bandwidth, check_ports, has_work, runtime_config
from tests.unit.network.fakes import pod


@pytest.mark.parametrize(
    ("text", "bits"),
    [("1M", 10**6), ("10Mi", 10 * 2**20), ("1.5k", 1500), ("1e6", 10**6), ("2000", 2000), ("1P", 10**15)],
)
def test_bandwidth_annotations_are_kubernetes_quantities(text: str, bits: int) -> None:
    assert bandwidth({"kubernetes.io/ingress-bandwidth": text}) == Bandwidth(bits, 0)
    assert bandwidth({"kubernetes.io/egress-bandwidth": text}) == Bandwidth(0, bits)


@pytest.mark.parametrize("text", ["fast", "1 M", "-1M", "1MB", "999", "2P", "1m", "1e99", "1\n", "٣M"])
def test_other_bandwidths_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"kubernetes\.io/egress-bandwidth"):
        bandwidth({"kubernetes.io/egress-bandwidth": text})


def test_no_annotation_is_no_limit() -> None:
    assert bandwidth({"other": "1M"}) == Bandwidth()


def test_only_what_is_asked_for_is_there() -> None:
    assert arguments(pod()) == {}


def test_ports_without_a_host_port_are_left_out() -> None:
    asked = arguments(
        pod(port_mappings=(PortMapping("tcp", 80), PortMapping("udp", 53, 5353, "127.0.0.1"), PortMapping("tcp", 1, 0)))
    )
    assert asked == {
        "portMappings": [{"hostPort": 5353, "containerPort": 53, "protocol": "udp", "hostIP": "127.0.0.1"}]
    }


def test_host_addresses_that_portmap_would_silently_ignore() -> None:
    for good in ("", "0.0.0.0", "::", "127.0.0.1"):
        check_ports(pod(port_mappings=(PortMapping("tcp", 80, 8080, good),)))
    with pytest.raises(InvalidArgument, match="host IP 'localhost' of host port 8080"):
        check_ports(pod(port_mappings=(PortMapping("tcp", 80, 8080, "localhost"),)))
    check_ports(pod(port_mappings=(PortMapping("tcp", 80, 0, "localhost"),)))


def test_all_arguments() -> None:
    asked = arguments(
        pod(
            dns=PodDns(("10.0.0.10",), ("a.b",), ("ndots:5",)), bandwidth=Bandwidth(1000, 2000),
            cgroup_path="/kubepods/x", annotations={"k": "v"},
        )
    )  # fmt: skip
    assert asked["dns"] == {"servers": ["10.0.0.10"], "searches": ["a.b"], "options": ["ndots:5"]}
    assert asked["bandwidth"]["ingressRate"] == 1000
    assert asked["bandwidth"]["egressRate"] == 2000
    assert asked["bandwidth"]["ingressBurst"] // 8 < 2**32
    assert asked["cgroupPath"] == "/kubepods/x"
    assert asked["io.kubernetes.cri.pod-annotations"] == {"k": "v"}


def test_a_plugin_gets_the_arguments_it_names() -> None:
    asked = {"portMappings": [1], "dns": {}, "bandwidth": {}}
    plugin = {"type": "x", "capabilities": {"portMappings": True, "dns": False, "mac": True}}
    assert runtime_config(plugin, asked) == {"portMappings": [1]}
    assert runtime_config({"type": "x"}, asked) == {}
    assert runtime_config({"type": "x", "capabilities": ["dns"]}, asked) == {}


def test_plugins_without_work_are_known() -> None:
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    assert not has_work(portmap, {})
    assert has_work(portmap, {"portMappings": [{}]})
    assert has_work({**portmap, "runtimeConfig": {}}, {})
    assert not has_work({"type": "bandwidth"}, {"bandwidth": {}})
    assert has_work({"type": "bandwidth", "ingressRate": 5}, {})
    assert has_work({"type": "tuning"}, {})
