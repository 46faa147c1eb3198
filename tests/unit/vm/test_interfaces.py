"""A pod's network as `ip -j` tells it, in the agent's words."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from podwright.base.errors import FailedPrecondition
from podwright.vm import interfaces
from podwright.vm.interfaces import Interface, Neighbour, Route, pod_network

LOOPBACK = {"ifname": "lo", "link_type": "loopback", "mtu": 65536}
ETH0 = {
    "ifname": "eth0", "link_type": "ether", "mtu": 1450, "address": "02:00:00:00:00:01",
    "addr_info": [
        {"family": "inet", "local": "10.1.0.5", "prefixlen": 24, "scope": "global"},
        {"family": "inet6", "local": "fd00::5", "prefixlen": 64, "scope": "global"},
        {"family": "inet6", "local": "fe80::1", "prefixlen": 64, "scope": "link"},
    ],
}  # fmt: skip


def read(links: list[Any], routes: dict[str, list[Any]], neighbours: list[Any]) -> interfaces.PodNetwork:
    return pod_network(
        msgspec.convert(links, type=list[interfaces._Link]),
        msgspec.convert(routes, type=dict[str, list[interfaces._Route]]),
        msgspec.convert(neighbours, type=list[interfaces._Neighbour]),
    )


def test_what_plugins_have_set_up() -> None:
    routes: dict[str, list[Any]] = {
        "inet": [
            {"dst": "default", "gateway": "169.254.1.1", "dev": "eth0", "flags": ["onlink"], "metric": 5},
            {"dst": "169.254.1.1", "dev": "eth0", "scope": "link"},
            {"dst": "10.1.0.0/24", "dev": "eth0", "protocol": "kernel", "scope": "link", "prefsrc": "10.1.0.5"},
            {"dst": "10.9.0.0/16", "dev": "elsewhere", "gateway": "10.1.0.1"},
            {"type": "unreachable", "dst": "10.8.0.0/16", "dev": "eth0"},
        ],
        "inet6": [{"dst": "default", "gateway": "fd00::1", "dev": "eth0", "flags": []}],
    }
    found = read([LOOPBACK, {}, ETH0], routes, [{"dst": "169.254.1.1", "dev": "eth0", "lladdr": "ee:ee:ee:ee:ee:ee"}])
    assert found.interfaces == (Interface("02:00:00:00:00:01", "eth0", 1450, ("10.1.0.5/24", "fd00::5/64")),)
    assert found.routes == (
        Route("0.0.0.0/0", "eth0", gateway="169.254.1.1", onlink=True, metric=5),
        Route("169.254.1.1/32", "eth0", scope="link"),
        Route("::/0", "eth0", gateway="fd00::1"),
    )
    assert found.neighbours == (Neighbour("169.254.1.1", "ee:ee:ee:ee:ee:ee", "eth0"),)


def test_a_link_that_no_machine_can_have() -> None:
    with pytest.raises(FailedPrecondition, match=r"link tun0 .* type none"):
        read([{"ifname": "tun0", "link_type": "none"}], {}, [])
