"""doctor's checks, each on made-up facts; what only the real machine can answer is in tests/root."""

import os
from pathlib import Path

import pytest

from podwright.cgroup.detect import Hierarchies
from podwright.cli.checks import cgroups, kernel, network, programs, storage
from podwright.cli.checks.finding import Finding, Level
from podwright.linux import nftables
from podwright.linux.capability_sets import CAPABILITY_NAMES
from podwright.linux.mounts import MountInfo
from podwright.network.base import Settings as NetworkSettings
from podwright.network.conflist import Conflist

EVERYTHING = frozenset(CAPABILITY_NAMES)


def told(finding: Finding) -> tuple[Level, str]:
    assert finding.mend or finding.level is not Level.FAIL, "a failure must say how to mend it"
    return finding.level, finding.message


@pytest.mark.parametrize(
    ("release", "level"),
    [("5.4.0-1", Level.FAIL), ("5.10.0-28-amd64", Level.WARN), ("6.1.0", Level.OK), ("?", Level.FAIL)],
)
def test_kernel_versions(release: str, level: Level) -> None:
    assert kernel.version(release).level is level


def test_namespaces(tmp_path: Path) -> None:
    (found,) = kernel.namespaces(tmp_path)
    assert told(found) == (Level.FAIL, "the kernel has no cgroup, ipc, mnt, net, pid, user, uts namespaces")
    for kind in ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts"):
        (tmp_path / "self/ns").mkdir(parents=True, exist_ok=True)
        (tmp_path / "self/ns" / kind).symlink_to(f"{kind}:[1]")
    (tmp_path / "sys/user").mkdir(parents=True)
    (tmp_path / "sys/user/max_user_namespaces").write_text("0\n")
    assert [finding.level for finding in kernel.namespaces(tmp_path)] == [Level.OK, Level.WARN]


def test_filesystems_and_seccomp(tmp_path: Path) -> None:
    assert kernel.filesystem("overlay", "nodev\tsysfs\nnodev\toverlay\n\text4\n").level is Level.OK
    assert kernel.filesystem("overlay", "nodev\tsysfs\n").level is Level.FAIL
    assert kernel.seccomp(tmp_path).level is Level.OK
    assert kernel.seccomp(tmp_path / "none").level is Level.WARN


def test_privileges() -> None:
    assert told(kernel.privileges(1000, frozenset())) == (Level.FAIL, "running as uid 1000")
    assert kernel.privileges(0, EVERYTHING).level is Level.OK
    assert "CAP_SYS_ADMIN" in told(kernel.privileges(0, EVERYTHING - {"CAP_SYS_ADMIN"}))[1]
    level, message = told(kernel.privileges(0, EVERYTHING - {"CAP_SYS_RESOURCE"}))
    assert (level, "oom_score_adj" in message) == (Level.WARN, True)


def test_cgroups() -> None:
    assert cgroups.layout(Hierarchies("v2", {}, "/sys/fs/cgroup"), "systemd").level is Level.OK
    level, message = told(cgroups.layout(Hierarchies("hybrid", {"cpu": "/c"}, "/u"), "cgroupfs"))
    assert (level, message) == (Level.WARN, "hybrid: controllers in v1, and v2 at /u; driver cgroupfs")
    assert [f.level for f in cgroups.controllers({"cpu", "memory", "pids", "cpuset"})] == [Level.OK]
    assert [f.level for f in cgroups.controllers({"cpu", "memory"})] == [Level.WARN]
    assert [told(f) for f in cgroups.controllers({"cpu"})] == [
        (Level.FAIL, "memory missing: limits can't be enforced")
    ]  # fmt: skip


def test_controllers_of_v2_come_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu io memory pids\n")
    assert cgroups.available(Hierarchies("v2", {}, str(tmp_path))) == {"cpu", "io", "memory", "pids"}
    assert cgroups.available(Hierarchies("v1", {"cpu": "/c"}, "")) == {"cpu"}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("crun version 1.8.1\ncommit: x\nspec: 1.0.0", "1.8.1"),
        ("runc version 1.1.5+ds1\nspec: 1.0.2-dev", "1.1.5+ds1"),
        ("nftables v1.0.6 (Lester Gooch #5)", "1.0.6"),
        ("iptables v1.8.9 (nf_tables)", "1.8.9"),
        ("no number", ""),
    ],
)
def test_versions_of_programs(text: str, number: str) -> None:
    assert programs.number_in(text) == number


def test_programs() -> None:
    assert programs.needed("monitor", "conmon", {"conmon": "2.1"}, "conmon").message == "conmon 2.1"
    assert programs.needed("monitor", "conmon", {}, "conmon").level is Level.FAIL
    assert programs.wanted("pause", "catatonit", {}, "x fails", "catatonit").level is Level.WARN
    assert programs.firewall({"nft": "1"}).message == "nft 1"
    assert programs.firewall({}).level is Level.WARN
    assert [f.check for f in programs.runtimes({"runc": "1"})] == ["runc", "crun"]


def test_network_configuration(tmp_path: Path) -> None:
    settings = NetworkSettings(conf_dir=tmp_path)
    network_file = Conflist(
        "net", "1.0.0", ({"type": "bridge", "ipam": {"type": "host-local"}}, {"type": "portmap"}), "f"
    )
    assert network.configuration(network_file, settings, nothing_valid=False).message == "network net from f"
    assert network.configuration(None, settings, nothing_valid=True).level is Level.FAIL
    assert network.configuration(None, settings, nothing_valid=False).level is Level.OK
    none = NetworkSettings(conf_dir=tmp_path, default_network="none")
    assert network.configuration(None, none, nothing_valid=False).level is Level.FAIL
    assert network.plugins_of(network_file) == ["bridge", "host-local", "portmap"]


def test_who_maps_host_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    assert told(network.host_ports(Conflist("net", "1.0.0", (portmap,), "f"))) == (
        Level.OK,
        "by the CNI plugin portmap",
    )
    monkeypatch.setattr(nftables, "_library", lambda: None)
    for conflist in (None, Conflist("net", "1.0.0", ({"type": "portmap"},), "f")):
        assert told(network.host_ports(conflist)) == (Level.OK, "by nftables rules of our own")
    monkeypatch.setattr(nftables, "_library", fail_to_load)
    assert network.host_ports(None).level is Level.WARN


def fail_to_load() -> None:
    raise OSError("no such library")


def test_network_findings_name_the_broken_file(tmp_path: Path) -> None:
    (tmp_path / "10-bad.conflist").write_text("{")
    found = list(network.findings(NetworkSettings(conf_dir=tmp_path)))
    assert found[0].level is Level.WARN
    assert "10-bad.conflist" in found[0].message
    assert found[1].level is Level.FAIL


def test_plugins_and_settings_of_the_kernel(tmp_path: Path) -> None:
    (tmp_path / "bridge").touch()
    assert network.plugins(["bridge"], [tmp_path / "none", tmp_path]).level is Level.OK
    assert told(network.plugins(["bridge", "x"], [tmp_path])) == (Level.FAIL, f"x not in {tmp_path}")
    setting = tmp_path / "setting"
    assert network.forwarding(setting).level is Level.WARN
    setting.write_text("0\n")
    assert network.forwarding(setting).level is Level.WARN
    setting.write_text("1\n")
    assert network.forwarding(setting).level is Level.OK
    assert network.bridge_netfilter(tmp_path).level is Level.WARN
    (tmp_path / "bridge-nf-call-iptables").write_text("0")
    assert network.bridge_netfilter(tmp_path).level is Level.WARN
    (tmp_path / "bridge-nf-call-iptables").write_text("1")
    assert network.bridge_netfilter(tmp_path).level is Level.OK


@pytest.mark.parametrize(
    ("options", "level"),
    [(("rw",), Level.OK), (("rw", "nosuid"), Level.WARN), (("rw", "noexec"), Level.FAIL), (("ro",), Level.FAIL)],
)
def test_mount_options(options: tuple[str, ...], level: Level) -> None:
    mount = MountInfo(1, 0, "/", "/m", options, (), "ext4", "/dev/x", ())
    (found,) = storage.mount_options(mount, Path("/m/root"))
    assert found.level is level
    assert list(storage.mount_options(None, Path("/x"))) == []


def statvfs(*, blocks: int, free: int, files: int, free_files: int) -> os.statvfs_result:
    return os.statvfs_result((4096, 4096, blocks, free, free, files, free_files, free_files, 0, 255))


@pytest.mark.parametrize(
    ("usage", "levels"),
    [
        (statvfs(blocks=10**8, free=9 * 10**7, files=100, free_files=90), [Level.OK, Level.OK]),
        (statvfs(blocks=10**8, free=10**6, files=100, free_files=5), [Level.WARN, Level.WARN]),
        (statvfs(blocks=10**8, free=10**3, files=1000, free_files=5), [Level.FAIL, Level.FAIL]),
        (statvfs(blocks=10**8, free=9 * 10**7, files=0, free_files=0), [Level.OK]),
    ],
)
def test_room(usage: os.statvfs_result, levels: list[Level]) -> None:
    assert [finding.level for finding in storage.room(usage, Path("/x"))] == levels
