"""Images by way of a real engine and a real registry: names, identity, who is who, removal, disk."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from podwright.base.errors import FailedPrecondition, InvalidArgument
from podwright.docker.engine import Engine
from podwright.docker.image.service import DockerImages
from podwright.image.settings import Settings
from podwright.registry.base import Settings as RegistrySettings
from tests.support import names
from tests.support.dockerd import Dockerd
from tests.support.images import HELLO_LAYER, marker
from tests.support.registry import Registry, push_image, push_index


async def test_an_image_has_one_id_by_whatever_name(images: DockerImages, registry: Registry) -> None:
    """cri-dockerd puts docker:// and docker-pullable:// before ids, which the kubelet then takes for other images."""
    repository = names.unique("app")
    pushed = push_image(registry, repository, "v1", [marker("one"), marker("two")])
    push_image(registry, f"{repository}/copy", "other", [marker("one"), marker("two")])
    record = await images.pull(registry.reference(repository, "v1"))
    again = await images.pull(registry.reference(f"{repository}/copy", "other"))
    assert record.id == again.id == pushed.config_digest
    tag, digest = registry.reference(repository, "v1"), f"{registry.address}/{repository}@{pushed.digest}"
    for name in (tag, digest, f"{tag}@{pushed.digest}", record.id, record.id.partition(":")[2], record.id[:19]):
        assert await images.find(name) == again, name
    (listed,) = await images.all()
    assert listed == again
    assert listed.repo_tags == sorted([tag, registry.reference(f"{repository}/copy", "other")])
    assert digest in listed.repo_digests
    assert listed.size_bytes > 0
    assert listed.reference_for(tag) == digest


async def test_familiar_names_are_told_in_full(images: DockerImages, dockerd: Dockerd, registry: Registry) -> None:
    pushed = push_image(registry, names.unique("app"), "v1", [marker("familiar")])
    record = await images.pull(registry.reference(pushed.repository, "v1"))
    dockerd.request("POST", f"/images/{record.id}/tag", repo="busybox", tag="1")
    found = await images.find("busybox:1")
    assert found is not None
    assert "docker.io/library/busybox:1" in found.repo_tags
    assert found == await images.find("docker.io/library/busybox:1") == await images.find("library/busybox:1")
    assert await images.find("busybox") is None


async def test_a_digest_gives_no_tag(images: DockerImages, registry: Registry) -> None:
    repository = names.unique("app")
    image = push_image(registry, repository, "v1", [marker("by digest")])
    index = push_index(registry, repository, "many", {"linux/amd64": image})
    name = f"{registry.address}/{repository}@{image.digest}"
    record = await images.pull(name)
    assert (record.repo_tags, record.repo_digests) == ([], [name])
    tagged = await images.pull(registry.reference(repository, "many"))
    assert tagged.id == record.id
    assert len(tagged.repo_digests) == 2, "of the index that was asked for, too"
    assert len(index) > 0


@pytest.mark.parametrize(
    ("user", "identity"),
    [("", (None, "")), ("1000", (1000, "")), ("1000:2000", (1000, "")), ("www:group", (None, "www")), ("0", (0, ""))],
)
async def test_who_runs(images: DockerImages, registry: Registry, user: str, identity: tuple[int | None, str]) -> None:
    pushed = push_image(registry, names.unique("app"), "v1", [marker("user")], {"User": user, "Cmd": ["/a", "b"]})
    record = await images.pull(registry.reference(pushed.repository, "v1"))
    assert record.user_identity() == identity
    (listed,) = await images.all()
    assert listed.user_identity() == identity, "the engine's list has no users: they are asked for"
    assert listed.config.cmd == ["/a", "b"]


async def test_what_others_do_shows_at_once(images: DockerImages, dockerd: Dockerd, registry: Registry) -> None:
    pushed = push_image(registry, names.unique("app"), "v1", [marker("others")])
    record = await images.pull(registry.reference(pushed.repository, "v1"))
    dockerd.request("POST", f"/images/{record.id}/tag", repo="theirs", tag="new")
    assert "docker.io/library/theirs:new" in (await images.all())[0].repo_tags
    dockerd.request("DELETE", f"/images/{record.id}", force="1")
    assert await images.all() == []
    assert await images.find(record.id) is None


async def test_a_prefix_that_fits_several_is_refused(images: DockerImages, registry: Registry) -> None:
    assert await images.find("abcdef") is None
    pushed = push_image(registry, names.unique("app"), "v1", [marker("prefix")])
    record = await images.pull(registry.reference(pushed.repository, "v1"))
    assert (await images.find(record.id[7:14])) == record
    with pytest.raises(InvalidArgument, match="image id"):
        await images.pull(record.id)


async def test_one_name_removes_all(images: DockerImages, registry: Registry) -> None:
    repository = names.unique("app")
    for name in (repository, f"{repository}/b"):
        push_image(registry, name, "v1", [marker("all names")])
        record = await images.pull(registry.reference(name, "v1"))
    await asyncio.gather(
        *(images.remove(registry.reference(repository, "v1")) for _ in range(4)), images.remove(record.id)
    )
    assert await images.all() == []
    await images.remove(registry.reference(repository, "v1"))
    await images.remove("sha256:" + "0" * 64)


async def test_an_image_in_use_stays(
    images: DockerImages, engine: Engine, dockerd: Dockerd, registry: Registry
) -> None:
    pushed = push_image(registry, names.unique("app"), "v1", [HELLO_LAYER], {"Cmd": ["/bin/sleep", "60"]})
    record = await images.pull(registry.reference(pushed.repository, "v1"))
    _, made = dockerd.request("POST", "/containers/create", {"Image": record.id, "HostConfig": {"NetworkMode": "none"}})
    assert dockerd.request("POST", f"/containers/{made['Id']}/start")[0] == 204
    with pytest.raises(FailedPrecondition, match="running container"):
        await images.remove(record.id)
    assert await images.find(record.id) == record, "nothing of it is gone"
    await engine.do("DELETE", f"/containers/{made['Id']}", query={"force": True})
    await images.remove(record.id)
    assert await images.find(record.id) is None


async def test_what_others_built_on_an_image_keeps_its_layers(
    images: DockerImages, dockerd: Dockerd, registry: Registry
) -> None:
    pushed = push_image(registry, names.unique("app"), "v1", [HELLO_LAYER], {"Cmd": ["/bin/true"]})
    record = await images.pull(registry.reference(pushed.repository, "v1"))
    _, made = dockerd.request("POST", "/containers/create", {"Image": record.id})
    dockerd.request("POST", "/commit", {}, container=made["Id"], repo="child")
    dockerd.request("DELETE", f"/containers/{made['Id']}")
    await images.remove(record.id)
    (child,) = await images.all()
    assert child.repo_tags == ["docker.io/library/child:latest"]
    assert await images.find(registry.reference(pushed.repository, "v1")) is None


async def test_the_disk_is_told_without_being_walked(
    images: DockerImages, dockerd: Dockerd, registry: Registry
) -> None:
    """cri-dockerd counts by walking the disk (its issue 135), and leaves container_filesystems out (408)."""
    assert (await images.usage()).used_bytes == 0
    shared, size = marker("shared", 300_000), 300_000
    first = push_image(registry, names.unique("app"), "v1", [shared, marker("first", size)])
    second = push_image(registry, names.unique("app"), "v1", [shared, marker("second", size)])
    await images.pull(registry.reference(first.repository, "v1"))
    one = await images.usage()
    assert one.used_bytes == 2 * size
    await images.pull(registry.reference(second.repository, "v1"))
    two = await images.usage()
    assert two.used_bytes == 3 * size, "a layer that two images share counts once"
    (dockerd.data_root / "image" / "a-walk-would-count-this").write_bytes(bytes(size))
    assert (await images.usage()).used_bytes == 3 * size
    assert two.mountpoint == dockerd.data_root
    assert two.inodes_used is None, "the engine doesn't tell"


async def test_an_image_that_the_engine_can_not_read(tmp_path: Path) -> None:
    """It must not hide the others from the kubelet's garbage collection."""
    good, bad = "sha256:" + "a" * 64, "sha256:" + "b" * 64

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/version":
            return web.json_response({"Version": "1", "ApiVersion": "1.41", "MinAPIVersion": "1.12"})
        if request.path == "/v1.41/images/json":
            return web.json_response([{"Id": good, "RepoTags": ["good:1"]}, {"Id": bad, "RepoTags": ["bad:1"]}])
        if good in request.path:
            return web.json_response({"Id": good, "Size": 5} if request.path.endswith("/json") else [{"Size": 5}])
        return web.json_response({"message": "layer does not exist"}, status=500)

    runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "d.sock")).start()
    engine = Engine(tmp_path / "d.sock")
    await engine.connect()
    images = DockerImages(engine, Settings(), RegistrySettings(auth_files=()), tmp_path)
    assert [image.repo_tags for image in await images.all()] == [["docker.io/library/good:1"]]
    await images.close()
    await engine.close()
    await runner.cleanup()


async def test_pinned_images(images: DockerImages, dockerd: Dockerd, registry: Registry) -> None:
    pushed = push_image(registry, names.unique("app"), "v1", [marker("pinned")])
    record = await images.pull(registry.reference(pushed.repository, "v1"))
    assert not record.pinned
    dockerd.request("POST", f"/images/{record.id}/tag", repo="localhost/pinned", tag="x")
    assert [image.pinned for image in await images.all()] == [True]
    dockerd.request("DELETE", "/images/localhost/pinned:x")
    assert [image.pinned for image in await images.all()] == [False]
