"""The built-in network as a list of plugins, its names and its subnet."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from podwright.base.errors import InvalidArgument
from podwright.network import default_bridge
from podwright.network.base import Settings
from podwright.network.default_bridge import DefaultBridge, bridge_name

ROUTES = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	010200C0	0003	0	0	0	00000000	0	0	0
eth0	000200C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
"""
DOCKER = "docker0	0000550A	00000000	0001	0	0	0	0000FFFF	0	0	0\n"  # 10.85.0.0/16
OURS = "br-own	0000600A	00000000	0001	0	0	0	0000FFFF	0	0	0\n"  # 10.96.0.0/16
WIDE = "vpn0	0000000A	00000000	0001	0	0	0	000000FF	0	0	0\n"  # 10.0.0.0/8


@pytest.fixture
def routes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    table = tmp_path / "route"
    table.write_text(ROUTES)
    monkeypatch.setattr(default_bridge, "ROUTE_TABLE", table)
    return table


def bridge(tmp_path: Path, **settings: str) -> DefaultBridge:
    return DefaultBridge(Settings(**settings), tmp_path)  # type: ignore[arg-type]


def test_the_usual_place_has_the_usual_name_and_others_their_own() -> None:
    assert bridge_name(Path("/run/podwright")) == "podwright0"
    names = {bridge_name(Path(f"/tmp/run{n}")) for n in range(20)}
    assert len(names) == 20
    assert all(len(name) <= 15 for name in names)


@pytest.mark.parametrize(
    ("more", "subnet"),
    [("", "10.85.0.0/16"), (DOCKER, "10.86.0.0/16"), (WIDE, "172.20.0.0/16"), (OURS + DOCKER, "10.96.0.0/16")],
)
def test_the_subnet_overlaps_no_route(routes: Path, tmp_path: Path, more: str, subnet: str) -> None:
    routes.write_text(ROUTES + more)
    assert str(bridge(tmp_path, default_bridge="br-own").subnet()) == subnet


def test_every_candidate_is_private() -> None:
    for candidate in default_bridge._candidates(ipaddress.IPv4Network("10.85.0.0/16")):
        assert candidate.is_private


def test_a_bad_subnet_is_named() -> None:
    with pytest.raises(InvalidArgument, match=r"network\.default_subnet: .*10\.85"):
        DefaultBridge(Settings(default_subnet="10.85.0.0/99"), Path("/run/podwright"))


def test_the_list(routes: Path, tmp_path: Path) -> None:
    conflist = bridge(tmp_path, default_bridge="br-own").conflist()
    assert conflist.file == ""
    assert [plugin["type"] for plugin in conflist.plugins] == ["bridge", "portmap", "bandwidth"]
    assert conflist.plugins[0]["bridge"] == "br-own"
    assert conflist.plugins[0]["ipam"]["dataDir"] == str(tmp_path / "ipam")


def test_leases_of_pods_that_are_no_more_go(tmp_path: Path) -> None:
    leases = tmp_path / "ipam" / "podwright"
    network = bridge(tmp_path)
    network.drop_stale_leases([])
    leases.mkdir(parents=True)
    (leases / "10.85.0.2").write_text("aaa\r\neth0")
    (leases / "10.85.0.3").write_text("bbb\r\neth0")
    (leases / "last_reserved_ip.0").write_text("10.85.0.3")
    (leases / "lock").touch()
    network.drop_stale_leases(["bbb"])
    assert sorted(p.name for p in leases.iterdir()) == ["10.85.0.3", "last_reserved_ip.0", "lock"]
    network.drop_stale_leases([])
    assert sorted(p.name for p in leases.iterdir()) == ["last_reserved_ip.0", "lock"]
