"""Where mounts land in somebody else's tree."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from podwright.base.errors import InvalidArgument
from podwright.container.mountpoints import check_mount_points, settle_mount_points
from podwright.container.spec.facts import MountSource
from podwright.oci.runtime_spec import Mount

DIRECTORY, FILE = MountSource(Path("/host/dir")), MountSource(Path("/host/file"), is_directory=False)


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    root = tmp_path / "rootfs"
    for name in ("dev", "etc", "proc", "sys", "var/lib"):
        (root / name).mkdir(parents=True)
    links = {
        "var/run": "/run", "etc/resolv.conf": "../run/systemd/resolve.conf", "to-proc": "/proc/self", "to-root": "/",
        "up": "../../../../..", "loop": "loop", "to-var": "var/lib", "dev-link": "/dev/shm",
    }  # fmt: skip
    for name, target in links.items():
        (root / name).symlink_to(target)
    (root / "etc/passwd").touch()
    return root


def settle(rootfs: Path, sources: Mapping[str, MountSource], *others: str) -> list[str]:
    mounts = [Mount(destination=path) for path in (*others, *sources)]
    return [mount.destination for mount in settle_mount_points(rootfs, mounts, sources)]


def test_what_is_there_stays_and_what_is_missing_is_made(rootfs: Path) -> None:
    assert settle(rootfs, {"/var/lib": DIRECTORY, "/etc/passwd": FILE, "/a/b": DIRECTORY, "/c/d": FILE}) == [
        "/var/lib", "/etc/passwd", "/a/b", "/c/d",
    ]  # fmt: skip
    assert (rootfs / "a/b").is_dir()
    assert os.listdir(rootfs / "c") == [], "the runtime makes the file"


@pytest.mark.parametrize(
    ("path", "source", "place", "made"),
    [
        ("/var/run/secrets/x", DIRECTORY, "/run/secrets/x", "run/secrets/x"),
        ("/etc/resolv.conf", FILE, "/run/systemd/resolve.conf", "run/systemd"),
        ("/to-var", DIRECTORY, "/var/lib", "var/lib"),
        ("/up/etc/x", DIRECTORY, "/etc/x", "etc/x"),
        ("/dev-link", DIRECTORY, "/dev/shm", "dev"),
    ],
)
def test_links_of_the_image_are_followed(rootfs: Path, path: str, source: MountSource, place: str, made: str) -> None:
    assert settle(rootfs, {path: source}) == [place]
    assert (rootfs / made).is_dir()


def test_the_pods_own_files_follow_links_too(rootfs: Path) -> None:
    assert settle(rootfs, {}, "/proc", "/etc/resolv.conf") == ["/proc", "/run/systemd/resolve.conf"]


def test_the_order_is_that_of_where_mounts_land(rootfs: Path) -> None:
    (rootfs / "x").symlink_to("/run")
    assert settle(rootfs, {"/run/secrets": DIRECTORY, "/x": DIRECTORY}) == ["/run", "/run/secrets"]


def test_what_lies_below_another_mount_is_not_the_images(rootfs: Path) -> None:
    (rootfs / "data").mkdir()
    (rootfs / "data/sub").symlink_to("/etc")
    assert settle(rootfs, {"/data": DIRECTORY, "/data/sub/x": DIRECTORY, "/data/new": FILE}) == [
        "/data", "/data/new", "/data/sub/x",
    ]  # fmt: skip
    assert not (rootfs / "etc/x").exists()
    assert os.listdir(rootfs / "data") == ["sub"]


@pytest.mark.parametrize("path", ["/to-proc", "/to-proc/attr", "/up/proc/sys", "/proc/1"])
def test_no_link_leads_to_what_the_kernel_shows(rootfs: Path, path: str) -> None:
    with pytest.raises(InvalidArgument, match="/proc") as refused:
        settle(rootfs, {path: DIRECTORY}, "/proc")
    assert path in str(refused.value)


@pytest.mark.parametrize("path", ["/to-root", "/up"])
def test_no_link_leads_to_the_root_directory(rootfs: Path, path: str) -> None:
    with pytest.raises(InvalidArgument, match=f"{path}.*root directory"):
        settle(rootfs, {path: DIRECTORY})


@pytest.mark.parametrize(
    ("path", "source", "words"),
    [
        ("/etc/passwd", DIRECTORY, "/host/dir is a directory, but /etc/passwd in the image is none"),
        ("/var/lib", FILE, "/host/file is a file, but /var/lib in the image is a directory"),
        ("/to-var", FILE, "but /var/lib in the image is a directory"),
        ("/etc/passwd/x", DIRECTORY, "Not a directory"),
        ("/loop", DIRECTORY, "symbolic links"),
    ],
)
def test_what_can_not_be_mounted_there(rootfs: Path, path: str, source: MountSource, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        settle(rootfs, {path: source})


def test_what_runtimes_fill_is_a_directory(rootfs: Path) -> None:
    check_mount_points(rootfs)
    (rootfs / "dev").rmdir()
    check_mount_points(rootfs)
    (rootfs / "dev").symlink_to("etc")
    with pytest.raises(InvalidArgument, match="/dev in the image"):
        check_mount_points(rootfs)
