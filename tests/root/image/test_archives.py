"""Load and save, with other programs at the other end, and archives that mean no good."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import shutil
import subprocess  # noqa: TID251 - skopeo is the judge here
import tarfile
from pathlib import Path

import pytest
import zstandard

from podwright.base.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PodwrightError
from podwright.image.model import ImageRecord
from tests.root.image.conftest import Room
from tests.root.image.test_pull import layer
from tests.support import tars
from tests.support.names import unique
from tests.support.registry import Registry, digest_of, push_image

pytestmark = pytest.mark.root
skopeo = pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")


def copy(*arguments: str | Path) -> None:
    subprocess.run(
        ["skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", *arguments], check=True, capture_output=True
    )


async def pulled(room: Room, registry: Registry, *layers: bytes, compression: str = "gzip") -> tuple[str, ImageRecord]:
    pushed = push_image(
        registry, unique("app"), "v1", layers or [layer("one"), layer("two", 50_000)], {"Cmd": ["sh"]},
        compression=compression,  # type: ignore[arg-type]
    )  # fmt: skip
    name = registry.reference(pushed.repository, "v1")
    return name, await room.images.pull(name)


@pytest.mark.parametrize("form", ["oci", "oci-dir", "docker"])
@pytest.mark.parametrize("compression", ["", "gzip", "zstd"])
async def test_a_round_trip_keeps_ids(
    room: Room, registry: Registry, tmp_path: Path, form: str, compression: str
) -> None:
    name, record = await pulled(room, registry, compression=compression)
    archive = tmp_path / "archive"
    await room.images.save([name], archive, form)  # type: ignore[arg-type]
    await room.images.remove(name)
    assert room.layers() == 0
    [loaded] = (image.record for image in await room.images.load(archive))
    assert (loaded.id, loaded.repo_tags, loaded.diff_ids) == (record.id, [name], record.diff_ids)
    assert loaded.config == record.config
    assert loaded.repo_digests == ([] if form == "docker" else record.repo_digests)
    room.snapshots.prepare("c", loaded.diff_ids)
    assert room.images.get(name) == loaded


@skopeo
@pytest.mark.parametrize("transport", ["docker-archive", "oci-archive", "oci"])
async def test_archives_that_skopeo_wrote(room: Room, registry: Registry, tmp_path: Path, transport: str) -> None:
    pushed = push_image(registry, unique("app"), "v1", [layer("one"), layer("two")], docker=True)
    source = f"docker://{registry.reference(pushed.repository, 'v1')}"
    name = "example.com/team/app:v2"
    copy(source, f"{transport}:{tmp_path}/archive:{name}")
    [record] = (image.record for image in await room.images.load(tmp_path / "archive"))
    assert record.repo_tags == [name]
    if transport == "docker-archive":
        assert record.id == pushed.config_digest
    room.snapshots.prepare("c", record.diff_ids)
    assert room.snapshots.committed(record.diff_ids)


@skopeo
@pytest.mark.parametrize(
    ("form", "transport"), [("docker", "docker-archive"), ("oci", "oci-archive"), ("oci-dir", "oci")]
)
async def test_skopeo_reads_what_is_saved(
    room: Room, registry: Registry, tmp_path: Path, form: str, transport: str
) -> None:
    name, record = await pulled(room, registry)
    await room.images.save([name], tmp_path / "archive", form)  # type: ignore[arg-type]
    at = f"{transport}:{tmp_path}/archive:{name}"
    inspected = subprocess.run(["skopeo", "inspect", "--config", at], check=True, capture_output=True)
    assert json.loads(inspected.stdout)["rootfs"]["diff_ids"] == record.diff_ids
    copy(at, f"dir:{tmp_path}/copy")


async def test_several_images_and_names(room: Room, registry: Registry, tmp_path: Path) -> None:
    base = layer("base")
    one, first = await pulled(room, registry, base)
    two, second = await pulled(room, registry, base, layer("more"))
    for form in ("oci", "docker"):
        await room.images.save([one, second.id], tmp_path / form, form)
        for name in (one, two):
            await room.images.remove(name)
        loaded = await room.images.load(tmp_path / form)
        assert [(image.record.id, image.tags) for image in loaded] == [(first.id, (one,)), (second.id, (two,))]
        with pytest.raises(InvalidArgument, match="holds 2 images"):
            await room.images.load(tmp_path / form, names=["x"])


async def test_names_can_be_given(room: Room, registry: Registry, tmp_path: Path) -> None:
    name, record = await pulled(room, registry)
    await room.images.save([name], tmp_path / "a")
    await room.images.remove(name)
    mine, other, third = (f"docker.io/library/{word}" for word in ("mine:latest", "other:v2", "third:latest"))
    [loaded] = await room.images.load(tmp_path / "a", names=["mine", "other:v2"])
    assert loaded.record.id == record.id
    assert loaded.record.repo_tags == list(loaded.tags) == [mine, other]
    [again] = await room.images.load(tmp_path / "a", names=["third"])
    assert again.tags == (third,), "the names it had before are not this archive's"
    assert again.record.repo_tags == [mine, other, third]
    with pytest.raises(InvalidArgument, match="tags, not digests"):
        await room.images.load(tmp_path / "a", names=[f"x@{record.id}"])


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
async def test_a_compressed_archive(room: Room, registry: Registry, tmp_path: Path, pack: object) -> None:
    name, record = await pulled(room, registry)
    await room.images.save([name], tmp_path / "a", "docker")
    (tmp_path / "packed").write_bytes(pack((tmp_path / "a").read_bytes()))  # type: ignore[operator]
    await room.images.remove(name)
    [loaded] = await room.images.load(tmp_path / "packed")
    assert loaded.record.id == record.id


def old_docker_save(tmp_path: Path, tar: bytes, name: str = "old/save:v1") -> Path:
    """The form of Docker before 25: a directory a layer, repeated layers as symlinks."""
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest_of(tar)] * 2}}
    ).encode()
    hexadecimal = digest_of(config).removeprefix("sha256:")
    manifest = [{"Config": f"{hexadecimal}.json", "RepoTags": [name], "Layers": ["aa/layer.tar", "bb/layer.tar"]}]
    link = tarfile.TarInfo("bb/layer.tar")
    link.type, link.linkname = tarfile.SYMTYPE, "../aa/layer.tar"
    path = tmp_path / "docker-save.tar"
    path.write_bytes(tars.from_tarfile([
        (tarfile.TarInfo("aa/layer.tar"), tar), (link, b""), (tarfile.TarInfo(f"{hexadecimal}.json"), config),
        (tarfile.TarInfo("repositories"), b"{}"), (tarfile.TarInfo("manifest.json"), json.dumps(manifest).encode()),
    ]))  # fmt: skip
    return path


async def test_an_old_docker_archive(room: Room, tmp_path: Path) -> None:
    [record] = (image.record for image in await room.images.load(old_docker_save(tmp_path, layer("x"))))
    assert record.repo_tags == ["docker.io/old/save:v1"]
    assert len(record.diff_ids) == 2
    assert room.layers() == 1


async def test_saving_what_is_not_there(room: Room, registry: Registry, tmp_path: Path) -> None:
    name, _ = await pulled(room, registry)
    with pytest.raises(NotFound, match="'nothing' is not here"):
        await room.images.save(["nothing"], tmp_path / "a")
    (tmp_path / "taken").touch()
    with pytest.raises(AlreadyExists):
        await room.images.save([name], tmp_path / "taken")
    with pytest.raises(NotFound, match="can't write"):
        await room.images.save([name], tmp_path / "no/such/directory")
    await room.restart(discard_unpacked_layers=True)
    other, _ = await pulled(room, registry)
    with pytest.raises(FailedPrecondition, match="discard_unpacked_layers"):
        await room.images.save([other], tmp_path / "b")
    assert sorted(os.listdir(tmp_path)) == ["root", "run", "taken"]


def layout(tmp_path: Path, index: object, blobs: dict[str, bytes] | None = None) -> Path:
    top = tmp_path / "layout"
    (top / "blobs/sha256").mkdir(parents=True)
    (top / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (top / "index.json").write_text(index if isinstance(index, str) else json.dumps(index))
    for digest, data in (blobs or {}).items():
        (top / "blobs/sha256" / digest.removeprefix("sha256:")).write_bytes(data)
    return top


def entry(data: bytes, media_type: str = "application/vnd.oci.image.manifest.v1+json") -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


async def refused(room: Room, path: Path, words: str, kind: type[PodwrightError] = InvalidArgument) -> None:
    with pytest.raises(kind, match=words):
        await room.images.load(path)
    assert room.images.list() == []
    assert room.layers() == 0
    assert room.half_made() == []


async def test_what_is_no_archive(room: Room, tmp_path: Path) -> None:
    await refused(room, tmp_path / "absent", "can't read", NotFound)
    (tmp_path / "text").write_text("hello" * 200)
    await refused(room, tmp_path / "text", "text is no image archive: not a tar header")
    (tmp_path / "empty").mkdir()
    await refused(room, tmp_path / "empty", "neither index.json")
    (tmp_path / "other.tar").write_bytes(tars.archive(tars.file(b"x", b"y")))
    await refused(room, tmp_path / "other.tar", "neither index.json")
    (tmp_path / "cut.tar").write_bytes(tars.file(b"index.json", b"y" * 5000)[:3000])
    await refused(room, tmp_path / "cut.tar", "ends in the middle")


async def test_layouts_that_lie(room: Room, tmp_path: Path) -> None:
    manifest = b'{"schemaVersion":2}'
    for number, (index, blobs, words, kind) in enumerate((
        ("not json", {}, "manifest:", InvalidArgument),
        ({"schemaVersion": 2, "manifests": []}, {}, "names no image", InvalidArgument),
        ({"schemaVersion": 2, "manifests": [entry(b"missing")]}, {}, "has no blobs/sha256", NotFound),
        ({"schemaVersion": 2, "manifests": [entry(b"a")]}, {digest_of(b"a"): b"b"},
         "not what its name says", InvalidArgument),
        ({"schemaVersion": 2, "manifests": [entry(manifest)]}, {digest_of(manifest): manifest},
         "manifest", InvalidArgument),
        ({"schemaVersion": 2, "manifests": [{"mediaType": "x", "digest": "sha256:../../etc", "size": 1}]}, {},
         "digest", InvalidArgument),
    )):  # fmt: skip
        top = tmp_path / str(number)
        await refused(room, layout(top, index, blobs), words, kind)


async def test_a_layout_whose_files_are_links_out_of_it(room: Room, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    top = layout(tmp_path, "x")
    (top / "index.json").unlink()
    (top / "index.json").symlink_to(tmp_path / "secret")
    await refused(room, top, "neither index.json")
    os.mkfifo(top / "manifest.json")
    await refused(room, top, "manifest.json")


@pytest.mark.parametrize("name", ["../../../../etc/passwd", "/etc/passwd", "absent", "."])
async def test_a_docker_archive_that_names_files_elsewhere(room: Room, tmp_path: Path, name: str) -> None:
    manifest = json.dumps([{"Config": name, "Layers": []}]).encode()
    path = tmp_path / "a.tar"
    path.write_bytes(tars.archive(tars.file(b"manifest.json", manifest)))
    await refused(room, path, "has no", NotFound)


async def test_names_in_a_tar_are_no_paths(room: Room, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(tars.archive(
        tars.file(b"../../../../../../tmp/podwright-load", b"x"), tars.symlink(b"loop", b"loop"),
        tars.symlink(b"manifest.json", b"/etc/passwd"), tars.header(b"dev", b"3", major=1, minor=3),
    ))  # fmt: skip
    await refused(room, path, "neither index.json")
    assert not Path("/tmp/podwright-load").exists()


async def test_a_layer_that_escapes_in_an_archive(room: Room, tmp_path: Path) -> None:
    await refused(room, old_docker_save(tmp_path, tars.archive(tars.file(b"../x"))), "escapes the root")


async def test_a_cancelled_load_leaves_no_spool(room: Room, tmp_path: Path) -> None:
    path = old_docker_save(tmp_path, layer("x", 20_000_000))
    for delay_ms in (1, 10, 30):
        loading = asyncio.ensure_future(room.images.load(path))  # noqa: TID251
        await asyncio.sleep(delay_ms / 1000)
        loading.cancel()
        await asyncio.wait([loading])
        for _ in range(100):
            if not room.half_made():
                break
            await asyncio.sleep(0.05)
        assert room.half_made() == []


def test_the_helper_makes_readable_archives(tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(old_docker_save(tmp_path, b"").read_bytes())) as tar:
        assert "manifest.json" in tar.getnames()
