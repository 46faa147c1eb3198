"""Results of every version of the specification, read and converted."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings, strategies

from podwright.base.errors import Internal
from podwright.network.base import Executed, NetworkResult
from podwright.network.results import convert, parse

EXECUTED = Executed("net", "1.0.0", (), {})
KEYS = strategies.sampled_from(
    ["cniVersion", "ips", "interfaces", "routes", "dns", "ip4", "ip6", "ip", "address", "gateway", "interface",
     "name", "sandbox", "dst", "gw", "nameservers"]
)  # fmt: skip

OLD = {
    "cniVersion": "0.2.0",
    "ip4": {"ip": "10.1.2.3/24", "gateway": "10.1.2.1", "routes": [{"dst": "0.0.0.0/0"}]},
    "ip6": {"ip": "fd00::3/64", "routes": [{"dst": "::/0", "gw": "fd00::1"}]},
    "dns": {"nameservers": ["10.0.0.10"]},
}
MIDDLE = {
    "cniVersion": "0.4.0",
    "interfaces": [{"name": "br0"}, {"name": "eth0", "sandbox": "/ns"}],
    "ips": [
        {"version": "6", "address": "fd00::3/64", "interface": 1},
        {"version": "4", "address": "10.1.2.3/24", "gateway": "10.1.2.1", "interface": 1},
    ],
}


def test_addresses_keep_the_plugins_order() -> None:
    assert parse(MIDDLE, EXECUTED).ips == ("fd00::3", "10.1.2.3")


def test_the_oldest_form_is_read() -> None:
    result = parse(OLD, EXECUTED)
    assert result.ips == ("10.1.2.3", "fd00::3")
    assert [(route.dst, route.gw) for route in result.routes] == [("0.0.0.0/0", ""), ("::/0", "fd00::1")]
    assert result.dns.nameservers == ("10.0.0.10",)


@pytest.mark.parametrize("original", [OLD, MIDDLE])
@pytest.mark.parametrize("version", ["0.2.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"])
def test_conversion_keeps_the_addresses(original: dict[str, Any], version: str) -> None:
    converted = convert(original, version)
    assert converted["cniVersion"] == version
    assert sorted(parse(converted, EXECUTED).ips) == ["10.1.2.3", "fd00::3"]
    if version.startswith("1"):
        assert all("version" not in entry for entry in converted["ips"])
    elif version != "0.2.0":
        assert {entry["version"] for entry in converted["ips"]} == {"4", "6"}
    else:
        assert "ips" not in converted


def test_the_same_version_is_left_alone() -> None:
    original = {"cniVersion": "1.0.0", "ips": [], "vendor.example/x": {"kept": True}}
    assert convert(original, "1.0.0") == original
    assert convert({"ips": []}, "1.0.0")["cniVersion"] == "1.0.0"


def test_addresses_of_the_host_and_of_other_interfaces_are_not_the_pods() -> None:
    result = {
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "br0"}, {"name": "net1", "sandbox": "/ns"}, {"name": "eth0", "sandbox": "/ns"}],
        "ips": [
            {"address": "10.9.9.9/24", "interface": 0},
            {"address": "10.8.8.8/24", "interface": 1},
            {"address": "10.1.2.3/24", "interface": 2},
        ],
    }
    assert parse(result, EXECUTED).ips == ("10.1.2.3",)
    without_eth0 = {**result, "ips": result["ips"][:2]}
    assert parse(without_eth0, EXECUTED).ips == ("10.8.8.8",)


def test_addresses_that_name_no_interface_are_the_pods() -> None:
    assert parse({"cniVersion": "1.0.0", "ips": [{"address": "10.1.2.3/32"}]}, EXECUTED).ips == ("10.1.2.3",)
    odd = {"cniVersion": "1.0.0", "ips": [{"address": "10.1.2.3/32", "interface": 7}], "interfaces": None}
    assert parse(odd, EXECUTED).ips == ("10.1.2.3",)


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ({"cniVersion": "1.0.0"}, "gave the pod no address"),
        ({"cniVersion": "1.0.0", "ips": [{"address": "bogus"}]}, "can't be understood"),
        ({"cniVersion": "1.0.0", "ips": [{"gateway": "10.0.0.1"}]}, "can't be understood"),
        ({"cniVersion": "1.0.0", "ips": "10.1.2.3"}, "can't be understood"),
        ({"cniVersion": "1.0.0", "ips": ["10.1.2.3/24"]}, "can't be understood"),
        ({"cniVersion": "bogus", "ips": []}, "can't be understood"),
        ({"cniVersion": "0.2.0", "ip4": {"ip": 3}}, "can't be understood"),
    ],
)
def test_a_result_without_a_usable_address_is_an_error(result: dict[str, Any], words: str) -> None:
    with pytest.raises(Internal, match=words):
        parse(result, EXECUTED)


def test_a_result_survives_storage() -> None:
    executed = Executed("net", "1.0.0", ({"type": "bridge", "ipam": {"x": [1, None]}},), MIDDLE, "/etc/x.conflist")
    result = parse(MIDDLE, executed)
    assert msgspec.json.decode(msgspec.json.encode(result), type=NetworkResult) == result


ANYTHING = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers() | strategies.text(max_size=8)
    | strategies.sampled_from(["10.1.2.3/24", "fd00::1/64", "0.0.0.0/0"]),
    lambda inner: strategies.lists(inner, max_size=3) | strategies.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    strategies.dictionaries(KEYS, ANYTHING, max_size=5),
    strategies.sampled_from(["0.1.0", "0.2.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]),
    strategies.sampled_from(["0.2.0", "0.4.0", "1.0.0"]),
)
def test_whatever_a_plugin_prints_there_is_one_kind_of_error(result: dict[str, Any], version: str, wanted: str) -> None:
    for step in (lambda: convert({**result, "cniVersion": version}, wanted), lambda: parse(result, EXECUTED)):
        try:
            step()
        except Internal:
            continue
