"""Pulls from a real registry into a real store, unpacked by the real kernel."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from podwright.base.errors import InvalidArgument, NotFound, PodwrightError, ResourceExhausted, Unauthenticated
from podwright.image.progress import Phase, PullProgress
from podwright.linux import mounts
from podwright.registry.base import Credentials, RegistryUnavailable
from tests.root.image.conftest import Room
from tests.support import tars
from tests.support.names import unique
from tests.support.registry import Registry, digest_of, push_blob, push_image, push_index, push_manifest, tar_layer

pytestmark = pytest.mark.root

ALICE = Credentials("alice", "secret")
MALLORY = Credentials("alice", "wrong")


def layer(text: str, size: int = 0) -> bytes:
    return tar_layer({"etc/": b"", f"etc/{text}": text.encode(), "data": os.urandom(size)})


@pytest.mark.parametrize("compression", ["", "gzip", "zstd"])
@pytest.mark.parametrize("docker", [False, True])
async def test_a_pull(room: Room, registry: Registry, compression: str, docker: bool, tmp_path: Path) -> None:
    pushed = push_image(
        registry, unique("app"), "v1", [layer("one"), layer("two", 200_000)],
        {"User": "www:grp", "Env": ["A=b"], "Cmd": ["sh"], "Labels": {"l": "v"}, "StopSignal": "SIGINT"},
        compression=compression, docker=docker,  # type: ignore[arg-type]
    )  # fmt: skip
    name = registry.reference(pushed.repository, "v1")
    record = await room.images.pull(name)
    assert record.id == pushed.config_digest
    assert record.repo_tags == [name]
    assert record.repo_digests == [f"{registry.address}/{pushed.repository}@{pushed.digest}"]
    assert record.user_identity() == (None, "www")
    assert (record.config.env, record.config.cmd, record.config.stop_signal) == (["A=b"], ["sh"], "SIGINT")
    assert record.size_bytes > 200_000
    assert json.loads(record.info_json())["imageSpec"]["config"]["Labels"] == {"l": "v"}
    assert room.images.list() == [record]
    target = tmp_path / "target"
    target.mkdir()
    room.snapshots.prepare("c", record.diff_ids)
    room.snapshots.mount("c", target)
    try:
        assert sorted(os.listdir(target / "etc")) == ["one", "two"]
        assert (target / "data").stat().st_size == 200_000
    finally:
        room.snapshots.unmount(target)


async def test_every_way_to_name_an_image_gives_the_same(room: Room, registry: Registry) -> None:
    pushed = push_image(registry, unique("app"), "v1", [layer("x")])
    name = registry.reference(pushed.repository, "v1")
    record = await room.images.pull(name)
    bare = record.id.removeprefix("sha256:")
    for word in (name, record.id, bare, bare[:12], f"sha256:{bare[:12]}", record.repo_digests[0],
                 f"{name}@{pushed.digest}"):  # fmt: skip
        assert room.images.get(word) == record, word
    for word in (bare[:3], "0" * 64, registry.reference(pushed.repository, "v2"), "busybox", "", "!", "sha256:", "a@b"):
        assert room.images.get(word) is None, word


async def test_a_digest_decides(room: Room, registry: Registry) -> None:
    repository = unique("app")
    old = push_image(registry, repository, "v1", [layer("old")])
    new = push_image(registry, repository, "v1", [layer("new")])
    record = await room.images.pull(f"{registry.address}/{repository}@{old.digest}")
    assert (record.id, record.repo_tags) == (old.config_digest, [])
    assert record.repo_digests == [f"{registry.address}/{repository}@{old.digest}"]
    both = await room.images.pull(f"{registry.address}/{repository}:v1@{old.digest}")
    assert (both.id, both.repo_tags) == (old.config_digest, [])
    tagged = await room.images.pull(registry.reference(repository, "v1"))
    assert tagged.id == new.config_digest


async def test_a_tag_that_moves_leaves_a_dangling_image(room: Room, registry: Registry) -> None:
    repository = unique("app")
    name = registry.reference(repository)
    old = push_image(registry, repository, "latest", [layer("old")])
    assert (await room.images.pull(name)).id == old.config_digest
    new = push_image(registry, repository, "latest", [layer("new")])
    assert (await room.images.pull(name)).id == new.config_digest
    left = room.images.get(old.config_digest)
    assert left is not None
    assert (left.repo_tags, left.repo_digests) == ([], [f"{registry.address}/{repository}@{old.digest}"])
    assert len(room.images.list()) == 2
    await room.restart()
    assert room.images.get(name) == room.images.get(new.config_digest)


async def test_one_id_under_many_names(room: Room, registry: Registry) -> None:
    tar = layer("same")
    first, second = unique("a"), unique("b")
    for repository in (first, second):
        push_image(registry, repository, "v1", [tar])
    one = await room.images.pull(registry.reference(first, "v1"))
    two = await room.images.pull(registry.reference(second, "v1"))
    assert one.id == two.id
    assert len(room.images.list()) == 1
    assert two.repo_tags == sorted(registry.reference(name, "v1") for name in (first, second))
    assert len(two.repo_digests) == 2


async def test_an_index_gives_this_machines_image(room: Room, registry: Registry) -> None:
    repository = unique("multi")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    mine = push_image(registry, repository, "mine", [layer("mine")], architecture=machine)
    other = push_image(registry, repository, "other", [layer("other")], architecture="s390x")
    index = push_index(registry, repository, "v1", {"linux/s390x": other, f"linux/{machine}": mine})
    record = await room.images.pull(registry.reference(repository, "v1"))
    assert record.id == mine.config_digest
    assert record.repo_digests == [f"{registry.address}/{repository}@{digest_of(index)}"]
    assert {digest_of(index), mine.digest} <= set(record.blobs)
    by_index = await room.images.pull(f"{registry.address}/{repository}@{digest_of(index)}")
    assert by_index.id == mine.config_digest
    push_index(registry, repository, "v2", {"linux/s390x": other})
    with pytest.raises(NotFound, match="has nothing for linux/"):
        await room.images.pull(registry.reference(repository, "v2"))


async def test_layers_are_shared_between_images(room: Room, registry: Registry) -> None:
    base = layer("base", 50_000)
    one = push_image(registry, unique("a"), "v1", [base, layer("one")])
    two = push_image(registry, unique("b"), "v1", [base, layer("two")])
    await room.images.pull(registry.reference(one.repository, "v1"))
    states = await watched(room, registry.reference(two.repository, "v1"))
    assert [progress.phase for progress in states[-1].layers] == [Phase.EXISTS, Phase.DONE]
    assert room.layers() == 3


async def watched(room: Room, name: str) -> list[PullProgress]:
    """Pull `name`, and what a watcher saw who came before the pull."""

    async def watch() -> list[PullProgress]:
        return [progress async for progress in room.images.watch(name)]

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch())
        await asyncio.sleep(0)
        pulling = group.create_task(_ignore_errors(room, name))
    await pulling
    return watching.result()


async def _ignore_errors(room: Room, name: str) -> None:
    try:
        await room.images.pull(name)
    except PodwrightError:
        return


async def test_progress_can_be_watched(room: Room, registry: Registry) -> None:
    pushed = push_image(registry, unique("app"), "v1", [layer("a", 300_000), layer("b")])
    states = await watched(room, registry.reference(pushed.repository, "v1"))
    last = states[-1]
    assert last.finished
    assert last.error == ""
    assert [progress.digest for progress in last.layers] == pushed.layer_digests
    assert all(progress.phase is Phase.DONE for progress in last.layers)
    assert last.bytes_done == last.bytes_total == sum(len(data) for data in pushed.layers)
    failed = await watched(room, registry.reference(pushed.repository, "none"))
    assert failed[-1].finished
    assert "none" in failed[-1].error
    assert room.images.pulling() == []


async def test_concurrent_pulls_share_one(room: Room, registry: Registry) -> None:
    pushed = push_image(registry, unique("app"), "v1", [layer("x", 100_000)])
    name = registry.reference(pushed.repository, "v1")
    records = await asyncio.gather(*(room.images.pull(name) for _ in range(5)))
    assert len({record.id for record in records}) == 1
    assert room.layers() == 1


async def test_a_present_image_proves_nothing_about_who_may_have_it(room: Room, locked_registry: Registry) -> None:
    pushed = push_image(locked_registry, unique("private"), "v1", [layer("x")])
    name = locked_registry.reference(pushed.repository, "v1")
    record = await room.images.pull(name, credentials=ALICE)
    for credentials in (MALLORY, None):
        with pytest.raises(Unauthenticated):
            await room.images.pull(name, credentials=credentials)
    assert room.images.get(name) == record
    results = await asyncio.gather(
        *(room.images.pull(name, credentials=who) for who in (ALICE, MALLORY, ALICE, None)), return_exceptions=True
    )
    assert [isinstance(result, Unauthenticated) for result in results] == [False, True, False, True]


async def test_a_pull_ends_when_nobody_waits_for_it(room: Room, registry: Registry) -> None:
    pushed = push_image(registry, unique("app"), "v1", [layer("x", 3_000_000)])
    name = registry.reference(pushed.repository, "v1")
    one, two = (asyncio.ensure_future(room.images.pull(name)) for _ in range(2))  # noqa: TID251
    await asyncio.sleep(0.005)
    one.cancel()
    await asyncio.wait([one])
    assert (await two).id == pushed.config_digest, "the other goes on"
    await room.images.remove(name)
    alone = asyncio.ensure_future(room.images.pull(name))  # noqa: TID251
    await asyncio.sleep(0.005)
    alone.cancel()
    await asyncio.wait([alone])
    assert alone.cancelled()
    assert room.images.pulling() == []
    assert room.half_made() == []
    assert (await room.images.pull(name)).id == pushed.config_digest


@pytest.mark.parametrize("delay_ms", [1, 5, 10, 20, 40, 80])
async def test_cancelled_at_any_moment(room: Room, registry: Registry, delay_ms: int) -> None:
    pushed = push_image(registry, unique("app"), "v1", [layer("x", 1_000_000), layer("y", 1_000_000)])
    name = registry.reference(pushed.repository, "v1")
    pulling = asyncio.ensure_future(room.images.pull(name))  # noqa: TID251
    await asyncio.wait([pulling], timeout=delay_ms / 1000)
    pulling.cancel()
    await asyncio.wait([pulling])
    assert room.half_made() == []
    record = await room.images.pull(name)
    assert room.snapshots.committed(record.diff_ids)


async def test_errors_are_plain_and_leave_nothing(room: Room, registry: Registry) -> None:
    pushed = push_image(registry, unique("app"), "v1", [layer("x")])
    for name, kind, words in (
        (registry.reference(pushed.repository, "none"), NotFound, "none"),
        (registry.reference(unique("nothing")), NotFound, "nothing"),
        ("127.0.0.1:1/app", RegistryUnavailable, "127.0.0.1:1"),
        ("Upper/Case", InvalidArgument, "lower case"),
        (pushed.config_digest, InvalidArgument, "image id"),
        (pushed.config_digest.removeprefix("sha256:"), InvalidArgument, "image id"),
    ):
        with pytest.raises(kind, match=words):
            await room.images.pull(name)
    assert room.images.list() == []
    assert room.layers() == 0


def push_odd(registry: Registry, layers: list[bytes], diff_ids: list[str]) -> str:
    """An image whose config says what the test wants."""
    repository = unique("odd")
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    ).encode()
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest_of(config),
                   "size": len(config)},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest_of(data), "size": len(data)}
                   for data in layers],
    }).encode()  # fmt: skip
    for blob in (config, *layers):
        push_blob(registry, repository, blob)
    push_manifest(registry, repository, "latest", manifest, "application/vnd.oci.image.manifest.v1+json")
    return registry.reference(repository)


async def test_a_layer_that_escapes(room: Room, registry: Registry) -> None:
    evil = tars.archive(tars.file(b"../../../../../../tmp/podwright-escaped"))
    with pytest.raises(
        InvalidArgument, match=rf"layer {digest_of(evil)}: entry '\S+podwright-escaped' escapes the root"
    ):
        await room.images.pull(push_odd(registry, [layer("fine"), evil], [digest_of(layer("fine")), digest_of(evil)]))
    assert not Path("/tmp/podwright-escaped").exists()
    assert room.images.list() == []


async def test_a_diff_id_that_lies(room: Room, registry: Registry) -> None:
    with pytest.raises(InvalidArgument, match="its image says sha256:0000"):
        await room.images.pull(push_odd(registry, [layer("x")], ["sha256:" + "0" * 64]))
    assert room.layers() == 0


async def test_layers_that_do_not_match_the_config(room: Room, registry: Registry) -> None:
    with pytest.raises(
        InvalidArgument, match=r"no container image: its manifest has 1 layers and its config .* 0 diff_ids"
    ):
        await room.images.pull(push_odd(registry, [layer("x")], []))


async def test_an_image_without_layers(room: Room, registry: Registry) -> None:
    record = await room.images.pull(push_odd(registry, [], []))
    room.snapshots.prepare("c", record.diff_ids)


async def test_a_full_disk(registry: Registry, tmp_path: Path) -> None:
    pushed = push_image(registry, unique("big"), "v1", [layer("x", 6_000_000)])
    small = push_image(registry, unique("small"), "v1", [layer("x", 1000)])
    top = tmp_path / "small"
    top.mkdir()
    mounts.tmpfs(top, size_bytes=8 << 20, mode=0o700)
    try:
        room = Room(top)
        await room.images.recover()
        with pytest.raises(ResourceExhausted, match="no space left"):
            await room.images.pull(registry.reference(pushed.repository, "v1"))
        assert room.half_made() == []
        await room.images.remove("none")
        await room.restart()
        assert (await room.images.pull(registry.reference(small.repository, "v1"))).id == small.config_digest
        await room.close()
    finally:
        mounts.unmount(top)


async def test_layers_may_be_discarded_once_unpacked(room: Room, registry: Registry, tmp_path: Path) -> None:
    await room.restart(discard_unpacked_layers=True)
    pushed = push_image(registry, unique("app"), "v1", [layer("x")])
    name = registry.reference(pushed.repository, "v1")
    record = await room.images.pull(name)
    assert room.blobs() == {pushed.digest, pushed.config_digest}
    assert set(record.blobs) == room.blobs()
    room.snapshots.prepare("c", record.diff_ids)
    await room.images.pull(name)
    assert room.blobs() == {pushed.digest, pushed.config_digest}, "a second pull fetches nothing"


async def test_pinned_images(room: Room, registry: Registry) -> None:
    pinned, loose = (push_image(registry, unique(word), "v1", [layer(word)]) for word in ("pin", "loose"))
    await room.restart(pinned=(f"{registry.address}/pin-*",))
    assert (await room.images.pull(registry.reference(pinned.repository, "v1"))).pinned
    assert not (await room.images.pull(registry.reference(loose.repository, "v1"))).pinned
    assert [record.pinned for record in room.images.list()] == [True, False]
    await room.restart(pinned=())
    assert not any(record.pinned for record in room.images.list())
