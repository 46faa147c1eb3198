"""Pulls by way of a real engine: whose credentials count, how far a pull is, how it ends, and what went wrong."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from podwright.base.errors import DataLoss, FailedPrecondition, NotFound, ResourceExhausted, Unauthenticated
from podwright.docker.engine import Engine
from podwright.docker.image.service import DockerImages
from podwright.image.progress import Phase, PullProgress
from podwright.image.settings import Settings
from podwright.registry.base import Credentials, RegistryUnavailable
from podwright.registry.base import Settings as RegistrySettings
from tests.support import names
from tests.support.dockerd import Dockerd
from tests.support.fake_registry import Answer, FakeRegistry, fake_registry
from tests.support.images import marker, serve_image
from tests.support.registry import Registry, make_image, push_image

ALICE = Credentials("alice", "hunter2")
WRONG = Credentials("alice", "guess")
_PIECE_BYTES = 600_000


async def test_each_caller_needs_credentials_of_its_own(images: DockerImages, private_registry: Registry) -> None:
    """Also for what is here already, by tag as by digest: that an image is cached proves nothing (KEP-2535)."""
    repository = names.unique("secret")
    pushed = push_image(private_registry, repository, "v1", [marker("secret")])
    by_tag = private_registry.reference(repository, "v1")
    by_digest = f"{private_registry.address}/{repository}@{pushed.digest}"
    for name in (by_tag, by_digest):
        for credentials in (None, WRONG):
            with pytest.raises(Unauthenticated) as refused:
                await images.pull(name, credentials=credentials)
            assert "hunter2" not in str(refused.value)
            assert "guess" not in str(refused.value)
        assert (await images.pull(name, credentials=ALICE)).id == pushed.config_digest
    for name in (by_tag, by_digest):
        with pytest.raises(Unauthenticated):
            await images.pull(name, credentials=WRONG)
    right, wrong = await asyncio.gather(
        images.pull(by_tag, credentials=ALICE), images.pull(by_tag, credentials=WRONG), return_exceptions=True
    )
    assert not isinstance(right, BaseException)
    assert isinstance(wrong, Unauthenticated)


async def test_credentials_go_to_their_registry_alone(images: DockerImages, private_registry: Registry) -> None:
    repository = names.unique("secret")
    push_image(private_registry, repository, "v1", [marker("elsewhere")])
    name = private_registry.reference(repository, "v1")
    with pytest.raises(Unauthenticated):
        await images.pull(name, credentials=replace(ALICE, server_address="registry.example.com"))
    await images.pull(name, credentials=replace(ALICE, server_address=f"http://{private_registry.address}/v1/"))


async def test_the_nodes_own_credentials(engine: Engine, private_registry: Registry, tmp_path: Path) -> None:
    auth = base64.b64encode(b"alice:hunter2").decode()
    (tmp_path / "auth.json").write_text(json.dumps({"auths": {private_registry.address: {"auth": auth}}}))
    pushed = push_image(private_registry, names.unique("secret"), "v1", [marker("node")])
    images = DockerImages(engine, Settings(), RegistrySettings(auth_files=(tmp_path / "auth.json",)), tmp_path)
    assert (await images.pull(private_registry.reference(pushed.repository, "v1"))).id == pushed.config_digest
    await images.close()


async def test_no_such_image(images: DockerImages, registry: Registry) -> None:
    with pytest.raises(NotFound, match="manifest unknown"):
        await images.pull(registry.reference("nobody", "v1"))
    with pytest.raises(NotFound):
        await images.pull(f"{registry.address}/nobody@sha256:{'0' * 64}")


async def test_no_registry(images: DockerImages) -> None:
    """The kubelet knows it by its first word."""
    with pytest.raises(RegistryUnavailable, match=r"^RegistryUnavailable: Docker can't pull .*refused"):
        await images.pull(f"127.0.0.1:{names.free_port()}/app:v1")


def answering(path: str, status: int, code: str) -> object:
    async def fault(request: web.Request) -> Answer:
        if path not in request.path:
            return None
        return web.json_response({"errors": [{"code": code, "message": "as the test wants it"}]}, status=status)

    return fault


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (429, "TOOMANYREQUESTS", ResourceExhausted), (403, "DENIED", Unauthenticated),
        (404, "MANIFEST_UNKNOWN", NotFound), (503, "UNAVAILABLE", RegistryUnavailable),
        (500, "UNKNOWN", RegistryUnavailable),
    ],
)  # fmt: skip
async def test_what_registries_refuse(images: DockerImages, status: int, code: str, kind: type[Exception]) -> None:
    async with fake_registry() as fake:
        fake.faults.append(answering("/manifests/", status, code))  # type: ignore[arg-type]
        with pytest.raises(kind) as refused:
            await images.pull(f"{fake.address}/app:v1")
        assert "\n" not in str(refused.value)


async def test_a_damaged_layer(images: DockerImages) -> None:
    async with fake_registry() as fake:
        image = make_image("app", "v1", [marker("damaged", 5000)])
        name = serve_image(fake, image)
        fake.blobs[image.layer_digests[0]] = bytes(len(image.layers[0]))
        with pytest.raises(DataLoss, match="verification failed"):
            await images.pull(name)
        assert await images.all() == []


async def test_a_layer_that_this_engine_can_not_unpack(
    images: DockerImages, engine: Engine, registry: Registry
) -> None:
    """Not a fault of the registry's, so the kubelet isn't told that trying again may help."""
    pushed = push_image(registry, names.unique("app"), "v1", [marker("zstd", 5000)], compression="zstd")
    pull = images.pull(registry.reference(pushed.repository, "v1"))
    if int(engine.version.partition(".")[0]) >= 23:
        assert (await pull).id == pushed.config_digest
    else:
        with pytest.raises(FailedPrecondition, match="before 23"):
            await pull


class Gate:
    """A registry's layers that come when the test says so, after their first half."""

    def __init__(self, fake: FakeRegistry) -> None:
        self._fake = fake
        self.open, self.asked, self.left = asyncio.Event(), asyncio.Event(), asyncio.Event()
        fake.faults.append(self)

    async def __call__(self, request: web.Request) -> Answer:
        data = self._fake.blobs.get(request.path.rpartition("/")[2], b"")
        if len(data) < 100_000 or request.method != "GET":
            return None
        response = web.StreamResponse(headers={"Content-Length": str(len(data))})
        await response.prepare(request)
        try:
            half = len(data) // 2
            for start in range(0, half, _PIECE_BYTES):  # the engine tells of progress every 100 ms and 512 KiB
                await response.write(data[start : min(start + _PIECE_BYTES, half)])
                await asyncio.sleep(0.12 if half > _PIECE_BYTES else 0)
            self.asked.set()
            await self.open.wait()
            await response.write(data[len(data) // 2 :])
        except (ConnectionError, asyncio.CancelledError):
            self.left.set()
        return response


async def test_how_far_a_pull_is(images: DockerImages) -> None:
    async with fake_registry() as fake:
        gate = Gate(fake)
        image = make_image("app", "v1", [marker("small"), marker("big", 3_000_000)], compression="")
        name = serve_image(fake, image)
        seen: list[PullProgress] = []

        async def watch() -> None:
            async for progress in images.watch(name):
                seen.append(progress)
                if progress.bytes_done >= 1_000_000:
                    gate.open.set()

        await asyncio.gather(watch(), images.pull(name))
        half = next(progress for progress in seen if 0 < progress.bytes_done < progress.bytes_total)
        assert len(half.layers) == 2
        assert {layer.digest for layer in half.layers} == {digest[:19] for digest in image.layer_digests}
        assert half.count(Phase.FETCHING) == 1
        assert seen[-1].finished
        assert seen[-1].count(Phase.DONE) == 2
        assert not seen[-1].error


async def test_the_last_caller_to_go_ends_the_pull(images: DockerImages) -> None:
    async with fake_registry() as fake:
        gate = Gate(fake)
        image = make_image("app", "v1", [marker("cancelled", 400_000)], compression="")
        name = serve_image(fake, image)
        first, second = asyncio.ensure_future(images.pull(name)), asyncio.ensure_future(images.pull(name))  # noqa: TID251
        await gate.asked.wait()
        assert len(fake.requests("/manifests/v1")) <= 2, "both calls share one pull"
        first.cancel()
        await asyncio.sleep(0.2)
        assert not gate.left.is_set()
        assert not second.done()
        second.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        assert first.cancelled()
        assert second.cancelled()
        gate.open.set()
        await asyncio.sleep(0.3)
        assert await images.all() == [], "the engine has stopped as well"
        assert (await images.pull(name)).id == image.config_digest


async def test_a_pull_that_brings_nothing_ends(images: DockerImages) -> None:
    """Not one that takes long: there is no deadline for the whole."""
    async with fake_registry() as fake:
        Gate(fake)
        image = make_image("app", "v1", [marker("stalled", 400_000)], compression="")
        with pytest.raises(RegistryUnavailable, match=f"nothing of layers {image.layer_digests[0][7:19]} for 2 s"):
            await images.pull(serve_image(fake, image))


async def test_an_engine_that_goes_away(own_dockerd: Dockerd, tmp_path: Path) -> None:
    engine = Engine(own_dockerd.socket)
    await engine.connect()
    images = DockerImages(engine, Settings(), RegistrySettings(auth_files=()), tmp_path)
    async with fake_registry() as fake:
        gate = Gate(fake)
        name = serve_image(fake, make_image("app", "v1", [marker("restart", 400_000)], compression=""))
        pull = asyncio.ensure_future(images.pull(name))  # noqa: TID251
        await gate.asked.wait()
        await asyncio.to_thread(own_dockerd.kill)
        with pytest.raises(Exception, match="Docker at "):
            await pull
        with pytest.raises(Exception, match="no Docker Engine answers at"):
            await images.all()
        await asyncio.to_thread(own_dockerd.start)
        gate.open.set()
        assert (await images.pull(name)).repo_tags == [name]
    await images.close()
    await engine.close()
