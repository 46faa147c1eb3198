"""Blobs from registries that break, stall and lie."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import time
from pathlib import Path

import pytest
from aiohttp import web

from podwright.content.ingest import DigestMismatch, Ingest, IngestClosed
from podwright.content.store import ContentStore
from podwright.oci.digest import Digest, digest_of
from podwright.oci.image import Descriptor
from podwright.registry.base import (
    BlobUnknown,
    RegistryUnavailable,
    Settings,
    Stalled,
)
from podwright.registry.client import RegistryClient
from tests.support.fake_registry import (
    MANIFEST,
    Answer,
    FakeRegistry,
    broken_after,
    configured,
    fake_registry,
    first,
    leftovers,
    name,
)

DATA = random.Random(3).randbytes(5_000_000)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return dataclasses.replace(settings, progress_timeout_s=0.4)


@pytest.mark.parametrize("serves_ranges", [True, False])
async def test_broken_connections_are_resumed(
    fake: FakeRegistry, client: RegistryClient, content: ContentStore, serves_ranges: bool
) -> None:
    fake.serves_ranges = serves_ranges
    descriptor = fake.add_blob(DATA)

    async def break_off(request: web.Request) -> Answer:
        whole = fake.blob_response(request, DATA)
        assert isinstance(whole.body, bytes)
        headers = {k.replace("-", "_"): v for k, v in whole.headers.items() if k.startswith(("Content-R", "Accept"))}
        return await broken_after(request, whole.body, 1_200_000, whole.status, **headers)

    fake.faults.append(first(3, break_off))
    counted: list[int] = []
    await client.fetch_blob(name(fake), descriptor, content, on_bytes=counted.append)
    assert content.read(descriptor.digest, limit_bytes=len(DATA)) == DATA
    assert sum(counted) == len(DATA)
    ranges = [request.headers.get("Range") for request in fake.requests("/blobs/")]
    assert ranges[0] is None
    assert all(one and one.startswith("bytes=") for one in ranges[1:])
    assert len(ranges) == 4 if serves_ranges else len(ranges) >= 3


async def test_a_registry_that_always_breaks_is_given_up(
    fake: FakeRegistry, client: RegistryClient, content: ContentStore
) -> None:
    descriptor = fake.add_blob(DATA)
    fake.faults.append(first(-1, lambda request: broken_after(request, DATA, 10)))
    followed: list[Ingest] = []
    with pytest.raises(RegistryUnavailable, match=r"^RegistryUnavailable: "):
        await client.fetch_blob(name(fake), descriptor, content, on_ingest=followed.append)
    assert len(fake.requests("/blobs/")) == 4
    with pytest.raises(IngestClosed):
        await followed[0].wait_committed()
    fake.faults.clear()
    await client.fetch_blob(name(fake), descriptor, content)
    assert content.has(descriptor.digest)


async def test_stalls_end_by_the_progress_timeout(
    fake: FakeRegistry, client: RegistryClient, content: ContentStore
) -> None:
    descriptor = fake.add_blob(DATA)
    release = asyncio.Event()

    async def hang(request: web.Request) -> Answer:
        if "/blobs/" in request.path:
            response = web.StreamResponse(headers={"Content-Length": str(len(DATA))})
            await response.prepare(request)
            await response.write(DATA[:100_000])
            await release.wait()
            return response
        await release.wait()
        return None

    fake.faults.append(first(-1, hang))
    for work in (client.fetch_blob(name(fake), descriptor, content), client.resolve_manifest(name(fake))):
        began = time.monotonic()
        with pytest.raises(Stalled, match="no byte came in time"):
            await work
        assert time.monotonic() - began < 3
    release.set()


async def test_a_cancelled_download_keeps_what_came(
    fake: FakeRegistry, client: RegistryClient, content: ContentStore
) -> None:
    descriptor = fake.add_blob(DATA)

    async def hang(request: web.Request) -> Answer:
        response = web.StreamResponse(headers={"Content-Length": str(len(DATA))})
        await response.prepare(request)
        await response.write(DATA[:4_000_000])
        await release.wait()
        return response

    release, arrived = asyncio.Event(), asyncio.Event()
    counted: list[int] = []

    def count(number: int) -> None:
        counted.append(number)
        if sum(counted) == 4_000_000:
            arrived.set()

    fake.faults.append(first(1, hang))
    work = asyncio.ensure_future(client.fetch_blob(name(fake), descriptor, content, on_bytes=count))  # noqa: TID251
    await arrived.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    release.set()
    counted.clear()
    await client.fetch_blob(name(fake), descriptor, content, on_bytes=counted.append)
    assert counted[0] == 4_000_000
    assert sum(counted) == len(DATA)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [len(DATA), len(DATA) - 7, len(DATA) + 7])
async def test_wrong_bytes_never_get_into_the_store(
    fake: FakeRegistry, client: RegistryClient, content: ContentStore, size: int, chunked: bool
) -> None:
    descriptor = fake.add_blob(DATA)
    lie = random.Random(4).randbytes(size)

    async def answer(request: web.Request) -> Answer:
        if not chunked:
            return web.Response(body=lie)
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(lie)
        return response

    fake.faults.append(first(-1, answer))
    with pytest.raises(DigestMismatch, match=rf"blob {descriptor.digest} from {fake.address} is not"):
        await client.fetch_blob(name(fake), descriptor, content)
    assert leftovers(content) == []
    assert len(fake.requests("/blobs/")) == 1


async def test_an_endless_blob_ends_at_its_size(
    fake: FakeRegistry, client: RegistryClient, content: ContentStore
) -> None:
    sent = 0

    async def endless(request: web.Request) -> Answer:
        nonlocal sent
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)
            sent += 65536

    fake.faults.append(first(-1, endless))
    with pytest.raises(DigestMismatch, match="expected 1000000 bytes, got more"):
        await client.fetch_blob(name(fake), Descriptor("x", digest_of(DATA), 1_000_000), content)
    assert sent < 30_000_000


async def test_a_lying_mirror_is_passed_over(
    tmp_path: Path, fake: FakeRegistry, client: RegistryClient, content: ContentStore
) -> None:
    descriptor = fake.add_blob(DATA)
    digest = fake.add_manifest("team/app", "v1", MANIFEST)
    async with fake_registry() as mirror:
        mirror.blobs[descriptor.digest] = DATA[:-1] + b"x"
        mirror.manifests[f"team/app/manifests/{digest}"] = "x", b"{}"
        reference = configured(
            tmp_path, "q.invalid", f'server = "http://{fake.address}"\n[host."http://{mirror.address}"]\n'
        )
        await client.fetch_blob(reference, descriptor, content)
        fetched = await client.fetch_manifest(reference, Descriptor("x", digest, len(MANIFEST)))
        assert (fetched.data, len(mirror.seen)) == (MANIFEST, 2)
        assert all("ns=q.invalid" in request.path for request in mirror.seen)
        assert not any("ns=" in request.path for request in fake.seen)
    assert content.read(descriptor.digest, limit_bytes=len(DATA)) == DATA


async def test_a_blob_nobody_has(
    tmp_path: Path, fake: FakeRegistry, client: RegistryClient, content: ContentStore
) -> None:
    descriptor = Descriptor("x", Digest(digest_of(b"?")), 1)
    with pytest.raises(BlobUnknown, match=r"has no .*/team/app blobs/sha256:.* \(UNKNOWN: not here\)"):
        await client.fetch_blob(name(fake), descriptor, content)
    nobody = configured(tmp_path, "q.invalid", 'capabilities = ["resolve"]\n')
    with pytest.raises(BlobUnknown, match=r"no endpoint of hosts\.toml"):
        await client.fetch_blob(nobody, descriptor, content)
