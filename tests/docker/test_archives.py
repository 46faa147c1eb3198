"""`image load` and `image save` by way of the engine: archives of both kinds, and ids that stay."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from examples.make_hello_image import image as hello_image

from podwright.base.errors import AlreadyExists, InvalidArgument, NotFound
from podwright.docker.image.service import DockerImages
from podwright.image.save import Format
from tests.support.images import marker
from tests.support.registry import Compression, make_image, tar_layer

HELLO = "localhost/podwright/hello:latest"


def oci_archive(path: Path, *layers: bytes, name: str = "", compression: Compression = "gzip") -> str:
    """An OCI layout as a tar; gives the image's id."""
    image = make_image("", "", layers, {"User": "7"}, compression=compression)
    blobs = {digest.partition(":")[2]: blob for digest, blob in zip(image.layer_digests, image.layers, strict=True)}
    blobs |= {image.digest.partition(":")[2]: image.manifest, image.config_digest.partition(":")[2]: image.config}
    entry = {"mediaType": image.media_type, "digest": image.digest, "size": len(image.manifest)}
    if name:
        entry["annotations"] = {"org.opencontainers.image.ref.name": name}
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry]}
    files = {f"blobs/sha256/{digest}": blob for digest, blob in blobs.items()}
    path.write_bytes(
        tar_layer({"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode(), **files})
    )
    return image.config_digest


async def test_a_docker_archive(images: DockerImages, tmp_path: Path) -> None:
    (tmp_path / "hello.tar").write_bytes(hello_image(HELLO))
    (loaded,) = await images.load(tmp_path / "hello.tar")
    assert loaded.tags == (HELLO,)
    assert await images.find(HELLO) == loaded.record
    (renamed,) = await images.load(tmp_path / "hello.tar", names=["other:1", "third"])
    assert renamed.record.id == loaded.record.id
    assert {"docker.io/library/other:1", "docker.io/library/third:latest", HELLO} == set(renamed.record.repo_tags)


@pytest.mark.parametrize("compression", ["", "gzip", "zstd"])
async def test_an_oci_layout(images: DockerImages, tmp_path: Path, compression: Compression) -> None:
    """Docker 20.10 itself takes none, and knows nothing of zstd."""
    layers = marker("one", 300_000), marker("two")
    image_id = oci_archive(tmp_path / "oci.tar", *layers, name="app:v1", compression=compression)
    (loaded,) = await images.load(tmp_path / "oci.tar")
    assert loaded.record.id == image_id
    assert loaded.record.repo_tags == ["docker.io/library/app:v1"]
    assert loaded.record.user_identity() == (7, "")


async def test_an_image_without_a_name(images: DockerImages, tmp_path: Path) -> None:
    image_id = oci_archive(tmp_path / "oci.tar", marker("nameless"))
    (loaded,) = await images.load(tmp_path / "oci.tar")
    assert (loaded.record.id, loaded.tags) == (image_id, ())
    assert [image.id for image in await images.all()] == [image_id], "the kubelet can collect it"


@pytest.mark.parametrize("form", ["oci", "docker", "oci-dir"])
async def test_what_is_saved_can_be_loaded(images: DockerImages, tmp_path: Path, form: Format) -> None:
    oci_archive(tmp_path / "oci.tar", marker("saved"), name="app:v1")
    (loaded,) = await images.load(tmp_path / "oci.tar")
    await images.save(["app:v1"], tmp_path / "saved", form)
    with pytest.raises(AlreadyExists):
        await images.save(["app:v1"], tmp_path / "saved", form)
    await images.remove("app:v1")
    (again,) = await images.load(tmp_path / "saved")
    assert (again.record.id, again.tags) == (loaded.record.id, ("docker.io/library/app:v1",))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["oci.tar", "saved", "spool"]


async def test_two_images_in_one_archive(images: DockerImages, tmp_path: Path) -> None:
    for name in ("a", "b"):
        oci_archive(tmp_path / f"{name}.tar", marker("shared"), marker(name), name=f"{name}:v1")
        await images.load(tmp_path / f"{name}.tar")
    before = {image.id for image in await images.all()}
    await images.save(["a:v1", "b:v1"], tmp_path / "both.tar")
    with tarfile.open(tmp_path / "both.tar") as tar:
        names = tar.getnames()
    assert len(names) == len(set(names)), "what they share is there once"
    for image_id in before:
        await images.remove(image_id)
    assert {loaded.record.id for loaded in await images.load(tmp_path / "both.tar")} == before
    with pytest.raises(InvalidArgument, match="holds 2 images"):
        await images.load(tmp_path / "both.tar", names=["c:1"])


async def test_what_is_no_archive(images: DockerImages, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(InvalidArgument, match="is no image archive"):
        await images.load(tmp_path / "text")
    with pytest.raises(NotFound):
        await images.load(tmp_path / "nothing")
    with pytest.raises(NotFound, match="'nobody' is not here"):
        await images.save(["nobody"], tmp_path / "x")
    oci_archive(tmp_path / "bad.tar", b"this is no tar", name="bad:1")
    with pytest.raises(InvalidArgument, match=r"Docker can't load docker\.io/library/bad:1: "):
        await images.load(tmp_path / "bad.tar")
