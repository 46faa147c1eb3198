"""Volumes on the host, as far as they need no root."""

import os
import stat
from pathlib import Path

import pytest

from podwright.base.errors import InvalidArgument
from podwright.cli.manifest.model import ConfigMapItem, ConfigMapVolume, EmptyDir, HostPath, Volume, VolumeMount
from podwright.cli.playing.volumes import make_volume, resolve_sub_path
from tests.unit.cli.manifest.pods import HOST

MAPS = {"c": {"a": b"1", "b": b"2"}}


def make(source: EmptyDir | HostPath | ConfigMapVolume, path: Path, group: int | None = None) -> None:
    make_volume(Volume("v", source, "spec.volumes[0]"), path, MAPS, HOST, group)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_empty_dir(tmp_path: Path) -> None:
    make(EmptyDir(), tmp_path / "v")
    assert mode(tmp_path / "v") == 0o777


def test_config_map(tmp_path: Path) -> None:
    make(ConfigMapVolume("c"), tmp_path / "v")
    assert {path.name: path.read_bytes() for path in (tmp_path / "v").iterdir()} == {"a": b"1", "b": b"2"}
    assert mode(tmp_path / "v/a") == 0o644
    items = (ConfigMapItem("a", "x/y", 0o600), ConfigMapItem("b", "z"), ConfigMapItem("nope", "n"))
    make(ConfigMapVolume("c", items, 0o400, optional=True), tmp_path / "w")
    assert sorted(path.name for path in (tmp_path / "w").rglob("*")) == ["x", "y", "z"]
    assert (mode(tmp_path / "w/x/y"), mode(tmp_path / "w/z")) == (0o600, 0o400)
    make(ConfigMapVolume("nope", optional=True), tmp_path / "u")
    assert list((tmp_path / "u").iterdir()) == []


def test_config_map_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"^spec.volumes\[0\].configMap: ConfigMap 'nope' isn't in the file"):
        make(ConfigMapVolume("nope"), tmp_path / "v")
    with pytest.raises(InvalidArgument, match=r"^spec.volumes\[0\].configMap.items: key 'n' of ConfigMap 'c'"):
        make(ConfigMapVolume("c", (ConfigMapItem("n", "n"),)), tmp_path / "w")


def test_fs_group(tmp_path: Path) -> None:
    make(ConfigMapVolume("c", default_mode=0o600), tmp_path / "v", os.getgid())
    assert mode(tmp_path / "v") == 0o2775
    assert mode(tmp_path / "v/a") == 0o660


def test_host_paths(tmp_path: Path) -> None:
    def check(name: str, kind: str) -> None:
        make(HostPath(str(tmp_path / name), kind), tmp_path / name)

    check("none", "")
    check("made/deep", "DirectoryOrCreate")
    check("made", "Directory")
    check("file", "FileOrCreate")
    check("file", "File")
    assert (tmp_path / "file").read_bytes() == b""
    for name, kind, message in (
        ("none", "Directory", "isn't there"),
        ("none", "Socket", "isn't there"),
        ("no/where", "FileOrCreate", "isn't there"),
        ("file", "Directory", "is not a directory"),
        ("made", "File", "is not a file"),
        ("made", "CharDevice", "is not a character device"),
    ):
        with pytest.raises(InvalidArgument, match=rf"^spec.volumes\[0\].hostPath: {tmp_path}/{name} {message}"):
            check(name, kind)


def test_sub_paths_stay_in_their_volume(tmp_path: Path) -> None:
    volume = tmp_path / "v"
    (volume / "there").mkdir(parents=True)
    (volume / "out").symlink_to("/etc")
    (volume / "up").symlink_to("../../..")
    (volume / "in").symlink_to("there")

    def resolved(path: str) -> str:
        mount = VolumeMount("v", "/m", sub_path=path, where="spec.x")
        return os.path.relpath(resolve_sub_path(mount, volume, {}), volume)

    assert resolved("there") == "there"
    assert resolved("in") == "there"
    assert resolved("new/one") == "new/one"
    assert (volume / "new/one").is_dir()
    assert resolved("up") == "."
    assert resolved("out/x") == "etc/x", "the link means the volume's own /etc, which is made"
