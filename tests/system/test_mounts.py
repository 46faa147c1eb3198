"""Mounts of a request through the socket: propagation, read-only, odd sources, hostile places, great numbers."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest

from podwright.criapi import api_pb2 as pb
from podwright.linux import mounts as kernel
from podwright.linux import syscalls as sys
from tests.support import tars
from tests.support.daemon import HELLO, Daemon, container_config, serving
from tests.support.images import HELLO_LAYER, load, refusal

pytestmark = pytest.mark.root

INVALID, NOT_FOUND, UNKNOWN = (
    grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNKNOWN,
)  # fmt: skip
SLAVE, SHARED = pb.PROPAGATION_HOST_TO_CONTAINER, pb.PROPAGATION_BIDIRECTIONAL


@pytest.fixture(scope="module", params=["crun", "runc"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    directory = tmp_path_factory.mktemp("m")
    old = directory / "old-runtime"
    old.write_text('#!/bin/sh\n[ "$1" = features ] && { echo "{}"; exit; }\nexec runc "$@"\n')
    old.chmod(0o755)
    daemon = Daemon(
        directory, runtime=request.param,
        config=f'[runtime.handlers.old]\npath = "{old}"\n'
        f'[container]\nabsent_mount_sources_to_reject = ["{directory}/must-be-there"]\n',
    )  # fmt: skip
    with serving(daemon):
        yield daemon


@pytest.fixture
def daemon(server: Daemon) -> Iterator[Daemon]:
    """One daemon a runtime; after each test without pods."""
    yield server
    server.clear_pods()


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A mount point of the host's with a directory in it; its propagation is private."""
    volume = tmp_path / "volume"
    volume.mkdir()
    kernel.tmpfs(volume, size_bytes=1 << 20)
    sys.mount(None, os.fspath(volume), None, sys.MS_PRIVATE)
    (volume / "inner").mkdir()
    yield volume
    kernel.unmount_tree(volume)


def change(volume: Path, propagation: int) -> None:
    sys.mount(None, os.fspath(volume), None, propagation)


def mount(host_path: Path | str, container_path: str = "/mnt", **fields: object) -> pb.Mount:
    return pb.Mount(container_path=container_path, host_path=str(host_path), **fields)  # type: ignore[arg-type]


def run(daemon: Daemon, *mounts: pb.Mount, image: str = HELLO, privileged: bool = False, handler: str = "") -> str:
    """A container with these mounts, which waits."""
    pod = daemon.run_pod(host_network=True, privileged=privileged, handler=handler)
    security = pb.LinuxContainerSecurityContext(privileged=privileged)
    return daemon.run_container(pod, "sleep", "1000", mounts=mounts, image=image, security=security)


def refused(daemon: Daemon, *mounts: pb.Mount, image: str = HELLO, handler: str = "") -> tuple[grpc.StatusCode, str]:
    pod = daemon.run_pod(host_network=True, handler=handler)
    config = container_config("main", "sleep", "1000", mounts=mounts, image=image)
    answer = refusal(lambda: daemon.create(pod, config))
    assert daemon.containers() == []
    daemon.remove_pod(pod)
    return answer


def sh(daemon: Daemon, container: str, script: str) -> str:
    answer = daemon.exec(container, "sh", "-c", script)
    return (answer.stdout + answer.stderr).decode()


# -- propagation


@pytest.mark.parametrize(
    ("source", "asked", "inwards", "outwards"),
    [
        (sys.MS_SHARED, pb.PROPAGATION_PRIVATE, False, False),
        (sys.MS_SHARED, SLAVE, True, False),
        (sys.MS_SHARED, SHARED, True, True),
        (sys.MS_PRIVATE, pb.PROPAGATION_PRIVATE, False, False),
    ],
)
def test_propagation(
    daemon: Daemon, volume: Path, source: int, asked: pb.MountPropagation.ValueType, inwards: bool, outwards: bool
) -> None:
    change(volume, source)
    (volume / "own").mkdir()
    container = run(daemon, mount(volume, propagation=asked), privileged=True)
    kernel.tmpfs(volume / "inner", size_bytes=4096)
    (volume / "inner/file").touch()
    assert sh(daemon, container, "ls /mnt/inner") == ("file\n" if inwards else "")
    assert sh(daemon, container, "mount -t tmpfs tmpfs /mnt/own && touch /mnt/own/file") == ""
    assert os.listdir(volume / "own") == (["file"] if outwards else [])
    assert daemon.status(container).mounts[0].propagation == asked


@pytest.mark.parametrize(("source", "asked"), [("private", SLAVE), ("private", SHARED), ("slave", SHARED)])
def test_propagation_that_can_not_be(
    daemon: Daemon, volume: Path, source: str, asked: pb.MountPropagation.ValueType
) -> None:
    if source == "slave":
        change(volume, sys.MS_SHARED)
        kernel.bind(volume, volume)
        change(volume, sys.MS_SLAVE)
    code, words = refused(daemon, mount(volume / "inner", propagation=asked))
    assert code == INVALID
    assert words.startswith("mounts[0]: ")
    assert f"mount --make-rshared {volume}" in words
    run(daemon, mount(volume / "inner"))


def test_a_slave_of_the_hosts_propagates_further(daemon: Daemon, volume: Path) -> None:
    change(volume, sys.MS_SHARED)
    copy = volume.with_name("copy")
    copy.mkdir()
    kernel.bind(volume, copy)
    try:
        change(copy, sys.MS_SLAVE)
        container = run(daemon, mount(copy, propagation=SLAVE))
        kernel.tmpfs(volume / "inner", size_bytes=4096)
        (volume / "inner/file").touch()
        assert sh(daemon, container, "ls /mnt/inner") == "file\n"
    finally:
        kernel.unmount_tree(copy)


# -- read-only


@pytest.mark.parametrize("recursive", [False, True])
def test_read_only(daemon: Daemon, volume: Path, recursive: bool) -> None:
    kernel.tmpfs(volume / "inner", size_bytes=4096)
    container = run(daemon, mount(volume, readonly=True, recursive_read_only=recursive))
    assert "Read-only" in sh(daemon, container, "touch /mnt/x")
    assert ("Read-only" in sh(daemon, container, "touch /mnt/inner/x")) == recursive
    shown = daemon.status(container).mounts[0]
    assert (shown.readonly, shown.recursive_read_only) == (True, recursive)


@pytest.mark.parametrize(
    "fields", [{}, {"readonly": True, "propagation": SLAVE}, {"readonly": True, "propagation": SHARED}]
)
def test_recursive_read_only_that_can_not_be(daemon: Daemon, volume: Path, fields: dict[str, Any]) -> None:
    code, words = refused(daemon, mount(volume, recursive_read_only=True, **fields))
    assert code == INVALID
    assert "mounts[0]: recursive_read_only needs" in words


def test_a_runtime_without_recursive_read_only(daemon: Daemon, volume: Path) -> None:
    """The kubelet looks for the word at the beginning, in an error of code UNKNOWN."""
    asked = mount(volume, readonly=True, recursive_read_only=True)
    code, words = refused(daemon, asked, handler="old")
    assert code == UNKNOWN
    assert words.startswith("RROUnsupported: mounts[0]: ")
    offered = {h.name: h.features for h in daemon.runtime.Status(pb.StatusRequest()).runtime_handlers}
    assert not offered["old"].recursive_read_only_mounts
    assert offered[""].recursive_read_only_mounts


def test_mount_options(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "tool").chmod(0o755)
    options = ["noexec", "nosuid", "nodev"]
    container = run(daemon, mount(tmp_path, "/no", mount_options=options), mount(tmp_path, "/yes"))
    assert sh(daemon, container, "/yes/tool") == "ran\n"
    assert "Permission denied" in sh(daemon, container, "/no/tool")
    assert daemon.runtime.Status(pb.StatusRequest()).features.mount_options
    daemon.remove_container(container)
    code, words = refused(daemon, mount(tmp_path, mount_options=["remount"]))
    assert (code, "'remount'" in words) == (INVALID, True)


# -- sources


def test_a_missing_source_becomes_a_directory(daemon: Daemon, tmp_path: Path) -> None:
    container = run(daemon, mount(tmp_path / "new/deep"))
    sh(daemon, container, "touch /mnt/file")
    assert os.listdir(tmp_path / "new/deep") == ["file"]
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o755


def test_a_missing_source_that_must_be_there(daemon: Daemon, tmp_path: Path) -> None:
    path = daemon.directory / "must-be-there"
    code, words = refused(daemon, mount(path))
    assert code == NOT_FOUND
    assert f"mounts[0]: host_path {path} does not exist" in words
    assert not path.exists()


def test_a_source_below_a_file(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, words = refused(daemon, mount(tmp_path / "file/x"))
    assert (code, f"{tmp_path}/file/x" in words) == (INVALID, True)


def test_links_on_the_host_are_followed(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/file").write_text("content\n")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file-link").symlink_to("link/file")
    (tmp_path / "loop").symlink_to("loop")
    assert refused(daemon, mount(tmp_path / "loop"))[0] == INVALID
    container = run(daemon, mount(tmp_path / "link"), mount(tmp_path / "file-link", "/file"))
    assert sh(daemon, container, "cat /mnt/file /file") == "content\ncontent\n"
    assert [m.host_path for m in daemon.status(container).mounts] == [f"{tmp_path}/link", f"{tmp_path}/file-link"]


def test_sockets_and_pipes_as_sources(daemon: Daemon, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.fspath(tmp_path / "s"))
        os.mkfifo(tmp_path / "p")
        container = run(daemon, mount(tmp_path / "s", "/run/deep/s"), mount(tmp_path / "p", "/run/p"))
        assert sh(daemon, container, "test -S /run/deep/s && test -p /run/p && echo both") == "both\n"


def test_a_source_that_goes_between_create_and_start(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone/file").touch()
    (tmp_path / "file").write_text("kept\n")
    pod = daemon.run_pod(host_network=True)
    asked = [mount(tmp_path / "gone"), mount(tmp_path / "file", "/file")]
    container = daemon.create(pod, container_config("main", "sleep", "1000", mounts=asked))
    (tmp_path / "gone/file").unlink()
    (tmp_path / "gone").rmdir()
    (tmp_path / "file").unlink()
    daemon.start_container(container)
    assert sh(daemon, container, "ls /mnt; cat /file") == "kept\n", "mounted is mounted"


# -- places


def test_the_pods_own_files_give_way(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "shm").mkdir()
    (tmp_path / "shm/mine").touch()
    for name in ("hosts", "hostname", "resolv.conf"):
        (tmp_path / name).write_text(f"my {name}\n")
    files = [mount(tmp_path / name, f"/etc/{name}", readonly=True) for name in ("hosts", "hostname", "resolv.conf")]
    container = run(daemon, mount(tmp_path / "shm", "/dev/shm"), *files)
    assert sh(daemon, container, "cat /etc/hosts /etc/hostname /etc/resolv.conf; ls /dev/shm") == (
        "my hosts\nmy hostname\nmy resolv.conf\nmine\n"
    )
    other = run_second(daemon)
    assert "127.0.0.1" in sh(daemon, other, "cat /etc/hosts")


def run_second(daemon: Daemon) -> str:
    return daemon.run_container(daemon.pods()[0].id, "sleep", "1000", name="second")


def test_parents_are_mounted_before_children(daemon: Daemon, tmp_path: Path) -> None:
    for name in ("top", "top/sub", "sub", "deep"):
        (tmp_path / name).mkdir()
    (tmp_path / "sub/from-sub").touch()
    (tmp_path / "deep/from-deep").touch()
    (tmp_path / "top/from-top").touch()
    container = run(
        daemon,
        mount(tmp_path / "deep", "/a/sub/deep"),
        mount(tmp_path / "sub", "/a/sub"),
        mount(tmp_path / "top", "/a"),
    )
    assert sh(daemon, container, "ls /a /a/sub/deep; ls /a/sub | sort").split() == [
        "/a:", "from-top", "sub", "/a/sub/deep:", "from-deep", "deep", "from-sub",
    ]  # fmt: skip


def test_of_two_at_one_place_the_later_one_is_seen(daemon: Daemon, tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    container = run(daemon, mount(tmp_path / "first"), mount(tmp_path / "second", "/mnt/"))
    assert sh(daemon, container, "ls /mnt") == "second\n"
    assert len(daemon.status(container).mounts) == 2


def test_links_in_the_image_are_followed_inside(daemon: Daemon, tmp_path: Path) -> None:
    """/var/run leads to a /run that is missing, /etc/resolv.conf to a file that is: as in images of whole machines."""
    image = load(daemon, [HELLO_LAYER, tars.archive(
        tars.directory(b"var"), tars.symlink(b"var/run", b"/run"),
        tars.symlink(b"etc/resolv.conf", b"../run/systemd/resolve/stub-resolv.conf"),
        tars.symlink(b"etc/hostname", b"/nowhere/hostname"), tars.symlink(b"out", b"../" * 9 + b"data"),
    )])  # fmt: skip
    (tmp_path / "token").write_text("secret\n")
    container = run(daemon, mount(tmp_path, "/var/run/secrets/account"), mount(tmp_path, "/out/x"), image=image)
    assert sh(daemon, container, "cat /run/secrets/account/token /data/x/token") == "secret\nsecret\n"
    hosts = Path("/etc/resolv.conf").read_text()
    assert sh(daemon, container, "cat /etc/resolv.conf; test -e /etc/hostname && echo there") == hosts + "there\n"
    assert "/var/run/secrets/account" in [m.container_path for m in daemon.status(container).mounts]


@pytest.mark.parametrize("path", ["/proc", "/proc/self/attr", "/proc/sys/kernel", "/link", "/link/sys", "/up/proc/1"])
def test_nothing_is_mounted_over_the_kernels_files(daemon: Daemon, tmp_path: Path, path: str) -> None:
    """What hides /proc/self/attr or /proc/sys makes profiles and masked paths of no use."""
    image = load(daemon, [HELLO_LAYER, tars.archive(tars.symlink(b"link", b"/proc"), tars.symlink(b"up", b"../" * 9))])
    code, words = refused(daemon, mount(tmp_path, path), image=image)
    assert code == INVALID
    assert f"container_path {path!r}" in words
    assert "can't be mounted on: it would hide the kernel's files" in words


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/", "can't be the root directory"),
        ("/up", "can't be the root directory"),
        ("relative/path", "must be an absolute path"),
        ("", "must be an absolute path"),
        ("/../..", "can't be the root directory"),
        ("/bin/sh", "is a directory, but"),
        ("/bin/sh/x", "Not a directory"),
        ("/loop", "Too many levels of symbolic links"),
    ],
)
def test_places_that_can_not_be(daemon: Daemon, tmp_path: Path, path: str, words: str) -> None:
    entries = tars.symlink(b"up", b"../../.."), tars.symlink(b"loop", b"loop")
    code, said = refused(daemon, mount(tmp_path, path), image=load(daemon, [HELLO_LAYER, tars.archive(*entries)]))
    assert (code, words in said) == (INVALID, True), said


def test_a_file_over_a_directory(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, words = refused(daemon, mount(tmp_path / "file", "/etc"))
    assert code == INVALID
    assert f"{tmp_path}/file is a file, but /etc in the image is a directory" in words


def test_dots_stay_inside(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    container = run(daemon, mount(tmp_path, "/../../a/../mnt/./x/"))
    assert sh(daemon, container, "ls /mnt/x") == "file\n"


def test_the_machines_own_trees(daemon: Daemon) -> None:
    """What monitoring agents and device plugins mount."""
    asked: Sequence[pb.Mount] = [mount("/dev", "/dev"), mount("/sys", "/sys"), mount("/proc", "/host/proc")]
    container = run(daemon, *asked, privileged=True)
    version = Path("/proc/version").read_text()
    assert sh(daemon, container, "cat /host/proc/version; test -c /dev/null && test -d /sys/kernel && echo ok") == (
        version + "ok\n"
    )


def test_the_machines_proc_in_place_of_the_containers(daemon: Daemon) -> None:
    container = run(daemon, mount("/proc", "/proc"), privileged=True)
    assert sh(daemon, container, "cat /proc/version") == Path("/proc/version").read_text()


def test_a_great_number_of_mounts(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    asked = [mount(tmp_path / "file", f"/many/{number % 10}/{number}") for number in range(1100)]
    container = run(daemon, *asked)
    assert sh(daemon, container, "cat /many/*/* | wc -c").strip() == "1100"
    assert len(daemon.status(container).mounts) == 1100
