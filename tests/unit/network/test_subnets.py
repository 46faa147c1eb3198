"""Which subnets the built-in network has: the cluster's, free private ones, or those of the bridge that is there."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from podwright.base.errors import InvalidArgument
from podwright.network import subnets
from podwright.network.base import Settings
from podwright.network.subnets import Subnets

ROUTES = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	010200C0	0003	0	0	0	00000000	0	0	0
eth0	000200C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
"""
DOCKER = "docker0	0000550A	00000000	0001	0	0	0	0000FFFF	0	0	0\n"  # 10.85.0.0/16
OURS = "br-own	0000600A	00000000	0001	0	0	0	0000FFFF	0	0	0\n"  # 10.96.0.0/16
WIDE = "vpn0	0000000A	00000000	0001	0	0	0	000000FF	0	0	0\n"  # 10.0.0.0/8
OURS6 = """\
fe80000000000000f8a1000000000001 09 40 20 80   br-own
fd000096000000000000000000000001 09 40 00 80   br-own
"""


@pytest.fixture(autouse=True)
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with IPv6, whose tables the tests write."""
    for name, content in (("ROUTE_TABLE", ROUTES), ("ADDRESSES6", ""), ("DISABLE_IPV6", "0\n")):
        (tmp_path / name).write_text(content)
        monkeypatch.setattr(subnets, name, tmp_path / name)
    return tmp_path


def current(run: Path, **settings: str | bool) -> list[str]:
    return list(map(str, Subnets(Settings(**settings), run, "br-own").current()))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("more", "subnet"),
    [("", "10.85.0.0/16"), (DOCKER, "10.86.0.0/16"), (WIDE, "172.20.0.0/16"), (OURS + DOCKER, "10.96.0.0/16")],
)
def test_the_subnet_overlaps_no_route(host: Path, more: str, subnet: str) -> None:
    (host / "ROUTE_TABLE").write_text(ROUTES + more)
    assert current(host, default_subnet6="") == [subnet]


def test_every_candidate_is_private() -> None:
    for candidate in subnets._candidates(ipaddress.IPv4Network("10.85.0.0/16")):
        assert candidate.is_private


def test_a_daemon_has_a_unique_local_subnet_of_its_own(host: Path) -> None:
    first, second = (ipaddress.ip_network(current(host / run)[1]) for run in ("a", "b"))
    assert first != second
    for subnet in (first, second):
        assert subnet.subnet_of(ipaddress.IPv6Network("fd00::/8"))  # type: ignore[arg-type]
        assert subnet.prefixlen == 64
    assert current(host / "a")[1] == str(first), "the same at each start"


def test_ipv6_only_where_the_host_has_it(host: Path) -> None:
    assert current(host, default_subnet6="fd00:85::/64") == ["10.85.0.0/16", "fd00:85::/64"]
    (host / "DISABLE_IPV6").write_text("1\n")
    assert current(host) == ["10.85.0.0/16"]
    (host / "DISABLE_IPV6").unlink()
    (host / "ADDRESSES6").unlink()
    assert current(host) == ["10.85.0.0/16"]


def test_a_bridge_keeps_what_it_has(host: Path) -> None:
    (host / "ROUTE_TABLE").write_text(ROUTES + OURS)
    assert current(host, default_subnet6="fd00:85::/64") == ["10.96.0.0/16", "fd00:85::/64"]
    (host / "ADDRESSES6").write_text(OURS6)
    assert current(host, default_subnet6="fd00:85::/64") == ["10.96.0.0/16", "fd00:96::/64"]


def test_the_clusters_subnets_count_and_are_remembered(host: Path) -> None:
    Subnets(Settings(), host, "br-own").set_pod_cidrs(["fd00:10::/64", "10.244.1.0/24"])
    assert current(host) == ["10.244.1.0/24", "fd00:10::/64"]
    assert current(host, use_pod_cidr=False)[0] == "10.85.0.0/16"
    Subnets(Settings(), host, "br-own").set_pod_cidrs(["10.244.2.0/24"])
    assert current(host) == ["10.244.2.0/24"], "a cluster with one family gets no other"
    (host / "pod-cidrs.json").write_text("[")
    assert current(host)[0] == "10.85.0.0/16"


@pytest.mark.parametrize("text", ["", "10.244.0.0", "10.244.1.1/24", "fd00::/999", "10.0.0.0/31"])
def test_what_is_no_pod_cidr(host: Path, text: str) -> None:
    found = Subnets(Settings(), host, "br-own")
    with pytest.raises(InvalidArgument, match=r"network_config\.pod_cidr"):
        found.set_pod_cidrs(["10.244.1.0/24", text])
    assert str(found.current()[0]) == "10.85.0.0/16"


@pytest.mark.parametrize(
    ("setting", "value"), [("default_subnet", "10.85.0.0/99"), ("default_subnet6", "10.85.0.0/16")]
)
def test_a_bad_subnet_is_named(host: Path, setting: str, value: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"network\.{setting}: .*10\.85"):
        current(host, **{setting: value})
