"""crun where cgroup v1 and v2 are mounted side by side: it works, and nothing of how it works is seen outside.

The mounts of these tests are below the test's own directory; the host's cgroup mounts are only looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from podwright.criapi import api_pb2 as pb
from podwright.linux import mounts
from podwright.linux import syscalls as sys
from podwright.linux.process import find_program, run
from podwright.runtime import hybrid
from podwright.runtime.base import RuntimeCommand
from tests.support.containers import Bench, container_config

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not hybrid.needed(), reason="crun needs no help on this host"),
]


@pytest.fixture(params=["crun"])
def handler(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def cgroup_mounts() -> Iterator[None]:
    """The host's cgroup mounts are afterwards what they were before, propagation included."""
    before = _cgroup_mounts()
    yield
    assert _cgroup_mounts() == before
    assert "/sys/fs/cgroup/unified" in {mount.target for mount in before}


def _cgroup_mounts() -> list[mounts.MountInfo]:
    return mounts.mounts_under(Path("/sys/fs/cgroup"))


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """A shared mount of the test's own, as a kubelet's volume directory is one on a host with systemd."""
    directory = tmp_path / "shared"
    directory.mkdir()
    mounts.tmpfs(directory, size_bytes=1 << 20)
    sys.mount(None, str(directory), None, sys.MS_SHARED | sys.MS_REC)
    yield directory
    mounts.unmount_tree(directory)


def _volume(config: pb.ContainerConfig, source: Path, propagation: int = pb.PROPAGATION_PRIVATE) -> None:
    mode = pb.MountPropagation.ValueType(propagation)
    config.mounts.add(host_path=str(source), container_path="/mnt", propagation=mode)


async def test_the_host_keeps_its_cgroup_mounts(bench: Bench, cgroup_mounts: None) -> None:
    monitored = await bench.run("sleep", "100")
    assert monitored.container_id in Path(f"/proc/{monitored.process.pid}/cgroup").read_text()
    monitor_mounts = {m.target for m in mounts.mountinfo(str(monitored.monitor.pid))}
    assert str(hybrid.UNIFIED) in monitor_mounts, "the monitor must live in the host's mount namespace"


async def test_a_volume_mounted_after_the_daemon_started_is_seen(
    bench: Bench, tmp_path: Path, cgroup_mounts: None
) -> None:
    volume = tmp_path / "late"
    volume.mkdir()
    mounts.tmpfs(volume, size_bytes=1 << 20)
    try:
        (volume / "file").write_text("late")
        config = container_config("cat", "/mnt/file")
        _volume(config, volume)
        log = bench.directory / "log"
        monitored = await bench.run(config=config, log=log)
        assert (await bench.monitor.wait_exit(monitored)).exit_code == 0
        assert log.read_text().endswith(" late\n")
        await bench.remove(monitored.container_id)
    finally:
        mounts.unmount(volume)


async def test_mounts_propagate_into_a_container(bench: Bench, shared: Path, cgroup_mounts: None) -> None:
    inner = shared / "inner"
    inner.mkdir()
    config = container_config("sleep", "100")
    _volume(config, shared, pb.PROPAGATION_HOST_TO_CONTAINER)
    monitored = await bench.run(config=config)
    mounts.tmpfs(inner, size_bytes=4096)
    (inner / "file").write_text("hello")
    result = await bench.runtime.exec_sync(bench.exec_request(monitored, "cat", "/mnt/inner/file"))
    assert (result.exit_code, result.stdout) == (0, b"hello")
    await bench.remove(monitored.container_id)


async def test_mounts_propagate_out_of_a_container(bench: Bench, shared: Path, cgroup_mounts: None) -> None:
    inner = shared / "inner"
    inner.mkdir()
    config = container_config("sh", "-c", "mount -t tmpfs none /mnt/inner && echo out > /mnt/inner/file && sleep 100")
    config.linux.security_context.privileged = True
    _volume(config, shared, pb.PROPAGATION_BIDIRECTIONAL)
    monitored = await bench.run(config=config)
    async with asyncio.timeout(5):
        while not (inner / "file").exists():
            await asyncio.sleep(0.01)
    assert (inner / "file").read_text() == "out\n"
    assert mounts.is_mount_point(inner)
    await bench.remove(monitored.container_id)


async def test_no_mount_namespace_of_ours_stays(bench: Bench, tmp_path: Path, cgroup_mounts: None) -> None:
    """A volume can be unmounted and its directory removed once the container is gone: nobody else holds it."""
    volume = tmp_path / "volume"
    volume.mkdir()
    mounts.tmpfs(volume, size_bytes=1 << 20)
    config = container_config("sleep", "100")
    _volume(config, volume)
    monitored = await bench.run(config=config)
    await bench.remove(monitored.container_id)
    sys.umount2(str(volume))  # EBUSY, were it in use
    volume.rmdir()


@pytest.mark.parametrize("without_perl", [False, True])
async def test_both_wrappers(without_perl: bool, monkeypatch: pytest.MonkeyPatch, cgroup_mounts: None) -> None:
    if without_perl:
        monkeypatch.setattr(hybrid, "find_program", lambda name: None if name == "perl" else find_program(name))
    cat = find_program("cat")
    assert cat is not None
    command = hybrid.wrapped(RuntimeCommand(cat))
    assert ("perl" in command.path.name) is not without_perl
    done = await run([command.path, *command.global_args, "/proc/self/mountinfo"])
    assert str(hybrid.UNIFIED) not in done.stdout.decode()
    assert "/sys/fs/cgroup/memory" in done.stdout.decode()


async def test_a_wrapper_that_fails_says_what_failed(monkeypatch: pytest.MonkeyPatch, cgroup_mounts: None) -> None:
    monkeypatch.setattr(hybrid, "UNIFIED", Path("/nowhere/unified"))
    cat = find_program("cat")
    assert cat is not None
    command = hybrid.wrapped(RuntimeCommand(cat))
    done = await run([command.path, *command.global_args, "/dev/null"], check=False)
    assert done.returncode != 0
    assert "/nowhere/unified" in done.stderr.decode()
