"""One blob from one source: answers that make no sense, parts, foreign layers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from podwright.content.ingest import DigestMismatch, Ingest
from podwright.content.store import ContentStore
from podwright.oci.digest import digest_of
from podwright.oci.image import Descriptor
from podwright.registry import blob
from podwright.registry.base import (
    BadRegistryAnswer,
)
from podwright.registry.client import RegistryClient
from tests.support.fake_registry import (
    ALICE,
    Answer,
    FakeRegistry,
    fake_registry,
    first,
    leftovers,
    name,
)

DATA = random.Random(3).randbytes(5_000_000)
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


async def test_answers_that_make_no_sense(fake: FakeRegistry, client: RegistryClient, content: ContentStore) -> None:
    descriptor = fake.add_blob(DATA)
    ingest = await content.open_ingest(descriptor.digest, descriptor.size)
    await ingest.write(DATA[:1000])
    await ingest.close()

    def answering(status: int, headers: dict[str, str]) -> Callable[[web.Request], Awaitable[Answer]]:
        async def answer(_request: web.Request) -> Answer:
            return web.Response(status=status, body=DATA[1000:], headers=headers)

        return answer

    for status, headers, words in [
        (206, {"Content-Range": f"bytes 0-999/{len(DATA)}"}, "another part than was asked for"),
        (206, {"Content-Range": "bytes 1000-"}, "another part than was asked for"),
        (206, {}, "another part than was asked for"),
        (200, {"Content-Encoding": "gzip"}, "encoded again"),
        (418, {}, "answers 418"),
    ]:
        fake.faults[:] = [answering(status, headers)]
        with pytest.raises(BadRegistryAnswer, match=words):
            await client.fetch_blob(name(fake), descriptor, content)
    # What we have is thrown away, and the same answer makes no sense to a request for the whole.
    fake.faults[:] = [answering(206, {"Content-Range": f"bytes 1000-{len(DATA) - 1}/{len(DATA) + 1}"})]
    with pytest.raises(BadRegistryAnswer, match="another part"):
        await client.fetch_blob(name(fake), descriptor, content)
    assert leftovers(content) == []


async def test_a_blob_that_is_shorter_than_what_we_have(
    fake: FakeRegistry, client: RegistryClient, content: ContentStore
) -> None:
    fake.blobs[digest_of(DATA)] = DATA[:500]
    ingest = await content.open_ingest(digest_of(DATA), len(DATA))
    await ingest.write(DATA[:1000])
    await ingest.close()
    with pytest.raises(DigestMismatch, match=f"expected {len(DATA)} bytes, got 500"):
        await client.fetch_blob(name(fake), Descriptor("x", digest_of(DATA), len(DATA)), content)
    assert leftovers(content) == []


class Slow:
    """Serves a blob, or a part of it, at 5 MB/s a connection; counts how many there are."""

    def __init__(self, fake: FakeRegistry) -> None:
        self._fake = fake
        self._at_once = self.most = 0

    async def __call__(self, request: web.Request) -> Answer:
        whole = self._fake.blob_response(request, DATA)
        body = whole.body
        assert isinstance(body, bytes)
        response = web.StreamResponse(status=whole.status, headers=whole.headers)
        response.content_length = len(body)
        await response.prepare(request)
        self._at_once += 1
        self.most = max(self.most, self._at_once)
        try:
            for start in range(0, len(body), 50_000):
                await response.write(body[start : start + 50_000])
                await asyncio.sleep(0.01)
        finally:
            self._at_once -= 1
        return response


async def test_a_slow_big_blob_is_fetched_in_parts(
    fake: FakeRegistry, client: RegistryClient, content: ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blob, "PART_BYTES", 400_000)
    monkeypatch.setattr(blob, "_SLOW_AFTER_S", 0.05)
    monkeypatch.setattr(blob, "_WORTH_PARTS_BYTES", 800_000)
    descriptor = fake.add_blob(DATA)
    slow = Slow(fake)
    fake.faults.append(first(-1, slow))
    counted: list[int] = []
    followed: list[Ingest] = []
    await client.fetch_blob(name(fake), descriptor, content, on_bytes=counted.append, on_ingest=followed.append)
    assert content.read(descriptor.digest, limit_bytes=len(DATA)) == DATA
    assert sum(counted) == len(DATA)
    assert len(followed) == 1
    assert slow.most >= 3
    parts = [request.headers["Range"] for request in fake.requests("/blobs/")[1:]]
    assert len(parts) == len(set(parts)) > 5

    # One bad part: what came before it stays, and the rest comes over one connection.
    content.delete(descriptor.digest)
    fake.seen.clear()

    async def one_breaks(request: web.Request) -> Answer:
        if len(fake.requests("/blobs/")) == 6:
            return web.Response(status=503)
        return await slow(request)

    fake.faults[:] = [one_breaks]
    await client.fetch_blob(name(fake), descriptor, content)
    assert content.read(descriptor.digest, limit_bytes=len(DATA)) == DATA


async def test_foreign_layers_come_from_their_own_address(
    fake: FakeRegistry, client: RegistryClient, content: ContentStore
) -> None:
    async with fake_registry("localhost") as elsewhere:
        digest = elsewhere.add_blob(DATA).digest
        urls = ["ftp://localhost/x", f"http://{elsewhere.address}/gone", f"http://{elsewhere.address}/files/{digest}"]
        descriptor = Descriptor(FOREIGN, digest, len(DATA), urls=urls)
        await client.fetch_blob(name(fake), descriptor, content)
        assert content.has(digest)
        assert fake.seen == []
    content.delete(digest)
    fake.blobs[digest] = DATA
    gone = Descriptor(FOREIGN, digest, len(DATA), urls=[f"http://{elsewhere.address}/files/{digest}"])
    await client.fetch_blob(name(fake), gone, content)
    assert content.has(digest)


async def test_foreign_layers_get_no_credentials(
    fake: FakeRegistry, elsewhere: FakeRegistry, client: RegistryClient, content: ContentStore
) -> None:
    """CVE-2020-15157: neither at first, nor when the address asks for them."""
    digest = elsewhere.add_blob(DATA).digest
    fake.blobs[digest] = DATA

    async def greedy(_request: web.Request) -> Answer:
        return web.Response(status=401, headers={"WWW-Authenticate": f'Bearer realm="http://{elsewhere.address}/t"'})

    elsewhere.faults.append(greedy)
    descriptor = elsewhere.add_blob(DATA)
    foreign = type(descriptor)(
        "application/vnd.docker.image.rootfs.foreign.diff.tar", digest, len(DATA),
        urls=[f"http://{elsewhere.address}/layer"],
    )  # fmt: skip
    await client.fetch_blob(name(fake), foreign, content, credentials=ALICE)
    assert content.has(digest)
    assert [request.path for request in elsewhere.seen] == ["/layer"]
    assert all(request.authorization is None for request in elsewhere.seen)
