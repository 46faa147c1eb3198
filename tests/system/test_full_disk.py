"""File systems without room: below the daemon's root, and below its run directory.

Whatever needs space is refused with RESOURCE_EXHAUSTED and leaves nothing; whatever gives space back works at the
last byte; and once there is room the same calls succeed.
"""

from __future__ import annotations

import os
import subprocess  # noqa: TID251 - file systems are made as a person would make them
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from podwright.criapi import api_pb2 as pb
from podwright.linux import mounts
from tests.support import names
from tests.support.daemon import Daemon, container_config, pod_config
from tests.support.images import HELLO_LAYER, find, listed, load, marker, pull, refusal, registry_config, remove
from tests.support.play import wait_for
from tests.support.registry import Registry, push_image, running_registry, tar_layer

pytestmark = pytest.mark.root

FULL = grpc.StatusCode.RESOURCE_EXHAUSTED
MIB = 1 << 20
RESERVE_BYTES = 64 * MIB


def run(*words: str | Path, check: bool = True) -> int:
    return subprocess.run(words, check=check, capture_output=True).returncode


class Disk:
    """A small file system at `path`: ext4 on a loop device where there are such, as below /var/lib; else tmpfs."""

    def __init__(self, path: Path, size_bytes: int, *, ext4: bool) -> None:
        self.path = path
        path.mkdir()
        self._image = path.with_suffix(".img")
        size_bytes += RESERVE_BYTES
        if not (ext4 and self._mount_ext4(size_bytes)):
            mounts.tmpfs(path, size_bytes=size_bytes, mode=0o700)
        self._ballast, self._reserve = path / "ballast", path / "reserve"
        with self._reserve.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)

    def _mount_ext4(self, size_bytes: int) -> bool:
        with self._image.open("wb") as file:
            file.truncate(size_bytes)
        run("mkfs.ext4", "-q", "-b", "4096", "-m", "0", self._image)
        return run("mount", "-o", "loop", self._image, self.path, check=False) == 0

    def grow(self) -> None:
        """Give it 64 MiB more. (To enlarge a mounted ext4 takes a capability that not every root has.)"""
        self._reserve.unlink()

    def free_bytes(self) -> int:
        status = os.statvfs(self.path)
        return status.f_bavail * status.f_bsize

    @contextmanager
    def full(self) -> Iterator[None]:
        """Fill it to the last byte, for a while."""
        try:
            with self._ballast.open("wb", buffering=0) as file:
                for size in (MIB, 4096):
                    try:
                        while True:
                            file.write(bytes(size))
                    except OSError:
                        continue
            assert self.free_bytes() == 0
            yield
        finally:
            self._ballast.unlink()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def disk(tmp_path: Path, where: str) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk", 36 * MIB, ext4=where == "root")
    yield made
    mounts.unmount(made.path)


@pytest.fixture(params=["root", "run"])
def where(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def daemon(tmp_path: Path, disk: Disk, where: str) -> Iterator[Daemon]:
    """One whose root or run directory is on the small disk."""
    (tmp_path / "daemon").mkdir()
    server = Daemon(tmp_path / "daemon", config=registry_config(tmp_path / "etc"))
    if where == "root":
        server.root = disk.path / "root"
    else:
        server.run = disk.path / "run"
        server.socket = server.run / "s.sock"
    server.start()
    try:
        yield server
    finally:
        server.remove_everything()
    assert server.leftovers() == []


only_root = pytest.mark.parametrize("where", ["root"], indirect=True)
only_run = pytest.mark.parametrize("where", ["run"], indirect=True)


def said_full(disk: Disk, words: str) -> bool:
    """One sentence that names the place and the way to mend it."""
    return str(disk.path) in words and "free space" in words


@only_root
@pytest.mark.parametrize("kind", ["download", "layer"])
def test_an_image_too_big(daemon: Daemon, disk: Disk, registry: Registry, kind: str) -> None:
    big = os.urandom(30 * MIB) if kind == "download" else bytes(40 * MIB)
    layers = [HELLO_LAYER, tar_layer({"big": big})]
    pushed = push_image(registry, names.unique("big"), "v1", layers, compression="" if kind == "download" else "gzip")
    name = registry.reference(pushed.repository, "v1")
    before = disk.free_bytes()
    code, words = refusal(lambda: pull(daemon, name))
    assert code == FULL
    assert said_full(disk, words), words
    assert find(daemon, name) is None
    daemon.wait_until_nothing_is_stored()
    assert disk.free_bytes() > before - MIB
    disk.grow()
    assert pull(daemon, name) == pushed.config_digest
    container = daemon.run_container(daemon.run_pod(host_network=True), "sleep", "1000", image=name)
    assert daemon.exec(container, "busybox", "wc", "-c", "/big").stdout.split()[0] == str(len(big)).encode()


@only_root
def test_no_byte_left_for_an_image(daemon: Daemon, disk: Disk, registry: Registry) -> None:
    pushed = push_image(registry, names.unique("small"), "v1", [marker("small")])
    name = registry.reference(pushed.repository, "v1")
    with disk.full():
        code, words = refusal(lambda: pull(daemon, name))
        assert code == FULL
        assert said_full(disk, words), words
        assert listed(daemon) == []
    daemon.wait_until_nothing_is_stored()
    assert pull(daemon, name) == pushed.config_digest


@only_run
def test_no_byte_left_for_a_pod(daemon: Daemon, disk: Disk) -> None:
    config = pod_config("pod", daemon.directory / "logs")
    request = pb.RunPodSandboxRequest(config=config)
    # The first pod makes the bridge, which is none of the disk's business.
    daemon.remove_pod(daemon.run_pod("first"))
    with disk.full():
        code, words = refusal(lambda: daemon.runtime.RunPodSandbox(request))
        assert code == FULL
        assert said_full(disk, words), words
        assert daemon.pods() == []
    assert daemon.leftovers() == []
    pod = daemon.runtime.RunPodSandbox(request).pod_sandbox_id
    assert daemon.pod_status(pod).state == pb.SANDBOX_READY


@only_root
def test_a_pod_needs_nothing_of_the_disk_of_images(daemon: Daemon, disk: Disk) -> None:
    with disk.full():
        assert daemon.pod_status(daemon.run_pod()).state == pb.SANDBOX_READY


@only_run
def test_no_byte_left_for_a_container(daemon: Daemon, disk: Disk) -> None:
    image = load(daemon, [HELLO_LAYER])
    pod = daemon.run_pod(host_network=True)
    config = container_config("main", "sleep", "1000", image=image)
    with disk.full():
        code, words = refusal(lambda: daemon.create(pod, config))
        assert code == FULL
        assert said_full(disk, words), words
        assert daemon.containers() == []
    container = daemon.create(pod, config)
    daemon.start_container(container)
    assert daemon.status(container).state == pb.CONTAINER_RUNNING


def test_everything_that_gives_space_back_works_on_a_full_disk(daemon: Daemon, disk: Disk, where: str) -> None:
    image = load(daemon, [HELLO_LAYER])
    pod = daemon.run_pod("one")
    other = daemon.run_pod("two", host_network=True)
    running = daemon.run_container(pod, "sleep", "1000", name="running", image=image)
    ending = daemon.run_container(pod, "sh", "-c", "sleep 0.5; exit 3", name="ending", image=image)
    created = daemon.create(other, container_config("created", "sleep", "1000", image=image))
    with disk.full():
        # The monitor writes the exit code into the run directory, and where it can't, nobody knows it.
        assert daemon.wait_exit(ending).exit_code == (3 if where == "root" else 255)
        if where == "root":
            assert daemon.exec(running, "echo", "alive").stdout == b"alive\n"
        daemon.stop_container(running)
        # What the first container's end gave back may be enough for the second one's exit code, or come too late.
        assert daemon.status(running).exit_code in ((137,) if where == "root" else (137, 255))
        daemon.remove_container(running)
        daemon.remove_container(created)
        daemon.stop_pod(pod)
        assert daemon.pod_status(pod).state == pb.SANDBOX_NOTREADY
        daemon.remove_pod(pod)
        daemon.remove_pod(other)
        remove(daemon, image)
        assert (daemon.pods(), daemon.containers(), listed(daemon)) == ([], [], [])
        daemon.wait_until_nothing_is_stored()
        assert daemon.leftovers() == []


@only_root
def test_a_container_that_fills_the_disk(daemon: Daemon, disk: Disk) -> None:
    image = load(daemon, [HELLO_LAYER])
    pod = daemon.run_pod(host_network=True)
    script = "busybox dd if=/dev/zero of=/big bs=1M; echo done; exec sleep 1000"
    greedy = daemon.run_container(pod, "sh", "-c", script, image=image)
    log = Path(daemon.status(greedy).log_path)
    wait_for(lambda: "done" in log.read_text(), log.read_text)
    assert "No space left" in log.read_text()
    daemon.remove_container(greedy)
    daemon.run_container(pod, "sleep", "1000", name="modest", image=image)


def test_a_daemon_that_starts_on_a_full_disk(daemon: Daemon, disk: Disk) -> None:
    image = load(daemon, [HELLO_LAYER])
    pod = daemon.run_pod()
    container = daemon.run_container(pod, "sleep", "1000", image=image)
    for end in (daemon.stop, daemon.kill):
        end()
        with disk.full():
            daemon.start()
            assert daemon.status(container).state == pb.CONTAINER_RUNNING
    with disk.full():
        daemon.remove_pod(pod)
        remove(daemon, image)
        daemon.wait_until_nothing_is_stored()
