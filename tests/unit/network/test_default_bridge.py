"""The built-in network as a list of plugins, its names and its leases."""

from __future__ import annotations

from pathlib import Path

from podwright.linux.nftables import Nftables
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
