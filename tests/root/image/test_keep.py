"""What stays and what goes: removal, sweeps, restarts, and what the file system information says."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from podwright.base.errors import InvalidArgument, NotFound
from podwright.image.gc import _LINGER_S
from tests.root.image.conftest import Room
from tests.root.image.test_pull import layer, push_odd
from tests.support import tars
from tests.support.fake_registry import Answer, fake_registry
from tests.support.images import serve_image
from tests.support.names import unique
from tests.support.registry import PushedImage, Registry, digest_of, make_image, push_image, push_index

pytestmark = pytest.mark.root


async def pulled(room: Room, registry: Registry, *layers: bytes) -> tuple[str, PushedImage]:
    pushed = push_image(registry, unique("app"), "v1", layers or [layer("x")])
    name = registry.reference(pushed.repository, "v1")
    await room.images.pull(name)
    return name, pushed


async def test_removal_takes_all_names_and_all_space(room: Room, registry: Registry) -> None:
    tar = layer("same")
    one, _ = await pulled(room, registry, tar)
    two, pushed = await pulled(room, registry, tar)
    assert len(room.images.list()) == 1
    await room.images.remove(two)
    for name in (one, two, pushed.config_digest):
        assert room.images.get(name) is None
        await room.images.remove(name)
    assert room.images.list() == []
    assert (room.blobs(), room.layers()) == (set(), 0)


@pytest.mark.parametrize("by", ["tag", "id", "prefix", "digest"])
async def test_removal_by_any_name(room: Room, registry: Registry, by: str) -> None:
    name, pushed = await pulled(room, registry)
    bare = pushed.config_digest.removeprefix("sha256:")
    words = {
        "tag": name,
        "id": bare,
        "prefix": bare[:13],
        "digest": f"{registry.address}/{pushed.repository}@{pushed.digest}",
    }
    await asyncio.gather(*(room.images.remove(words[by]) for _ in range(3)))
    assert room.images.list() == []


async def test_shared_layers_stay_with_the_other_image(room: Room, registry: Registry) -> None:
    base = layer("base")
    one, _ = await pulled(room, registry, base, layer("one"))
    two, kept = await pulled(room, registry, base, layer("two"))
    await room.images.remove(one)
    assert room.layers() == 2
    assert room.blobs() == {kept.digest, kept.config_digest, *kept.layer_digests}
    assert room.images.get(two) is not None


async def test_layers_under_a_container_stay(room: Room, registry: Registry, tmp_path: Path) -> None:
    name, pushed = await pulled(room, registry)
    record = room.images.get(name)
    assert record is not None
    target = tmp_path / "target"
    target.mkdir()
    room.snapshots.prepare("c", record.diff_ids)
    room.snapshots.mount("c", target)
    room.containers[record.id] = ["c"]
    await room.images.remove(name)
    assert room.images.get(name) is None
    assert (target / "etc/x").read_bytes() == b"x"
    await room.restart()
    assert (target / "etc/x").read_bytes() == b"x"
    assert room.layers() == 1
    with pytest.raises(NotFound):
        room.snapshots.mount("other", target)
    room.snapshots.unmount(target)
    room.snapshots.mount("c", target)  # a container's file system needs no image
    room.snapshots.unmount(target)
    await room.snapshots.remove("c")
    room.images._collector.sweep()
    assert room.layers() == 0
    assert (await room.images.pull(name)).id == pushed.config_digest


async def test_removal_during_a_pull_of_the_same_layers(room: Room, registry: Registry) -> None:
    base = layer("base", 2_000_000)
    one, _ = await pulled(room, registry, base)
    second = push_image(registry, unique("b"), "v1", [base, layer("two", 2_000_000)])
    name = registry.reference(second.repository, "v1")
    pulling = asyncio.ensure_future(room.images.pull(name))  # noqa: TID251
    for _ in range(20):
        await asyncio.sleep(0.002)
        await room.images.remove(one)
    record = await pulling
    room.snapshots.prepare("c", record.diff_ids)
    await room.restart()
    assert room.images.get(name) == record


async def test_a_pull_that_will_fail_again_leaves_nothing(room: Room, registry: Registry) -> None:
    good, bad = layer("good"), tars.archive(tars.file(b"../x"))
    name = push_odd(registry, [good, bad], [digest_of(good), digest_of(bad)])
    with pytest.raises(InvalidArgument, match="escapes"):
        await room.images.pull(name)
    assert (room.blobs(), room.layers()) == (set(), 0)


async def test_what_a_broken_off_pull_left_is_kept_a_while_and_then_swept(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = make_image(unique("app"), "v1", [layer("one"), layer("two")])
    async with fake_registry() as fake:
        name = serve_image(fake, image)
        del fake.blobs[digest_of(image.layers[1])]
        fake.faults.append(silent_on(digest_of(image.layers[1])))
        pulling = asyncio.ensure_future(room.images.pull(name))  # noqa: TID251
        while digest_of(image.layers[0]) not in room.blobs():
            await asyncio.sleep(0.01)
        pulling.cancel()
        await asyncio.wait([pulling])
        await wait_until(lambda: not any(lease.until == float("inf") for lease in room.images._collector._leases))
    left = room.blobs()
    assert digest_of(image.layers[0]) in left
    room.images._collector.sweep()
    assert room.blobs() == left, "the kubelet will ask again"
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + _LINGER_S + 1)
    room.images._collector.sweep()
    assert (room.blobs(), room.layers()) == (set(), 0)


def silent_on(digest: str) -> Callable[[web.Request], Awaitable[Answer]]:
    """A fault: this blob never comes."""

    async def fault(request: web.Request) -> Answer:
        if digest in request.path:
            await asyncio.sleep(60)
        return None

    return fault


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_restart_keeps_images_and_drops_what_is_not_whole(room: Room, registry: Registry) -> None:
    name, _ = await pulled(room, registry, layer("kept"))
    lost, _ = await pulled(room, registry, layer("lost"))
    before = room.images.get(name)
    record = room.images.get(lost)
    assert record is not None
    await room.snapshots._tasks.drain(30)
    directory = room.snapshots._layers.get(record.diff_ids[0])
    assert directory is not None
    shutil.rmtree(room.layout.snapshots / "layers" / directory.name)
    await room.restart()
    assert room.images.get(name) == before
    assert room.images.get(lost) is None
    assert (await room.images.pull(lost)).id == record.id


async def test_a_layer_blob_that_is_gone_does_not_take_the_image(
    room: Room, registry: Registry, tmp_path: Path
) -> None:
    name, pushed = await pulled(room, registry)
    room.content.path(pushed.layer_digests[0]).unlink()  # type: ignore[arg-type]
    await room.restart()
    record = room.images.get(name)
    assert record is not None
    assert pushed.layer_digests[0] not in record.blobs


async def test_garbage_of_a_crash_is_swept(room: Room, registry: Registry) -> None:
    name, pushed = await pulled(room, registry)
    await room.content.put(b"an orphan")
    (room.layout.snapshots / "staging" / "half").mkdir()
    (room.layout.snapshots / "layers" / "zz").mkdir()
    await room.restart()
    assert room.blobs() == {pushed.digest, pushed.config_digest, *pushed.layer_digests}
    assert room.layers() == 1
    assert room.images.get(name) is not None


async def test_fs_info_counts_blobs_and_layers_once(room: Room, registry: Registry) -> None:
    empty = room.images.fs_info()
    assert (empty.used_bytes, empty.inodes_used) == (0, 0)
    assert os.path.ismount(empty.mountpoint) or empty.mountpoint.is_dir()
    base = layer("base", 1_000_000)
    first, pushed = await pulled(room, registry, base)
    one = room.images.fs_info()
    assert one.used_bytes > 1_000_000 + len(pushed.layers[0])
    assert one.timestamp_ns > empty.timestamp_ns
    second, _ = await pulled(room, registry, base, layer("small"))
    two = room.images.fs_info()
    assert two.used_bytes - one.used_bytes < 100_000, "the base counts once"
    assert room.images.fs_info().used_bytes == two.used_bytes
    await room.restart()
    assert room.images.fs_info().used_bytes == two.used_bytes
    for name in (first, second):
        await room.images.remove(name)
    assert room.images.fs_info().used_bytes == 0


async def test_an_index_that_is_shared_by_two_tags_stays(room: Room, registry: Registry) -> None:
    repository = unique("multi")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    image = push_image(registry, repository, "plain", [layer("x")], architecture=machine)
    index = push_index(registry, repository, "v1", {f"linux/{machine}": image})
    for tag in ("plain", "v1"):
        await room.images.pull(registry.reference(repository, tag))
    record = room.images.get(image.config_digest)
    assert record is not None
    assert digest_of(index) in record.blobs
    assert len(record.repo_digests) == 2
    room.images._collector.sweep()
    assert digest_of(index) in room.blobs()
