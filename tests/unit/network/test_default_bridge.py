"""The built-in network as a list of plugins, its names and its leases."""

from __future__ import annotations

from pathlib import Path

import pytest

from podwright.linux.nftables import Nftables
from podwright.network import default_bridge, subnets
from podwright.network.base import Settings
from podwright.network.default_bridge import DefaultBridge, bridge_name


def bridge(tmp_path: Path, **settings: str) -> DefaultBridge:
    return DefaultBridge(Settings(**settings), tmp_path, Nftables())  # type: ignore[arg-type]


def test_the_usual_place_has_the_usual_name_and_others_their_own() -> None:
    assert bridge_name(Path("/run/podwright")) == "podwright0"
    names = {bridge_name(Path(f"/tmp/run{n}")) for n in range(20)}
    assert len(names) == 20
    assert all(len(name) <= 15 for name in names)


def test_the_list(tmp_path: Path) -> None:
    conflist = bridge(
        tmp_path, default_bridge="br-own", default_subnet="10.85.0.0/30", default_subnet6="fd00:85::/64"
    ).conflist()
    assert conflist.file == ""
    assert [plugin["type"] for plugin in conflist.plugins] == ["bridge", "bandwidth"]
    assert conflist.plugins[0]["bridge"] == "br-own"
    ipam = conflist.plugins[0]["ipam"]
    assert ipam["dataDir"] == str(tmp_path / "ipam")
    assert len(ipam["ranges"]) == len(ipam["routes"])
    assert ipam["routes"][0] == {"dst": "0.0.0.0/0"}


def test_leases_of_pods_that_are_no_more_go(tmp_path: Path) -> None:
    leases = tmp_path / "ipam" / "podwright"
    network = bridge(tmp_path)
    network.drop_stale_leases([])
    leases.mkdir(parents=True)
    (leases / "10.85.0.2").write_text("aaa\r\neth0")
    (leases / "10.85.0.3").write_text("bbb\r\neth0")
    (leases / "fd00:85::2").write_text("aaa\r\neth0")
    (leases / "last_reserved_ip.0").write_text("10.85.0.3")
    (leases / "lock").touch()
    network.drop_stale_leases(["bbb"])
    assert sorted(p.name for p in leases.iterdir()) == ["10.85.0.3", "last_reserved_ip.0", "lock"]
    network.drop_stale_leases([])
    assert sorted(p.name for p in leases.iterdir()) == ["last_reserved_ip.0", "lock"]


ROUTES6 = """\
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe80000000000000000000000000001f 00000400 00000001 00000000 00450003     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe80000000000000000000000000001f 00000400 00000001 00000000 00000003     eth1
fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001    veth9
"""  # noqa: E501


def test_router_advertisements_still_count_on_links_that_live_by_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "conf"
    for link in ("all", "default", "eth0", "eth1", "veth9"):
        (settings / link).mkdir(parents=True)
        (settings / link / "accept_ra").write_text("1\n")
    forwarding = settings / "all" / "forwarding"
    (tmp_path / "routes").write_text(ROUTES6)
    monkeypatch.setattr(subnets, "ROUTES6", tmp_path / "routes")
    monkeypatch.setattr(default_bridge, "IPV6_SETTINGS", settings)
    network = bridge(tmp_path, default_subnet6="fd00:85::/64")

    def changed() -> list[str]:
        network.keep_router_advertisements()
        return [file.parent.name for file in settings.glob("*/accept_ra") if file.read_text() == "2"]

    assert changed() == [], "there is no IPv6"
    forwarding.write_text("1\n")
    assert changed() == [], "it forwards already, and whoever made it do so has seen to this"
    forwarding.write_text("0\n")
    assert changed() == ["eth0"]
