"""The client against registries that break, lie, stall and lead astray."""

from __future__ import annotations

import asyncio
import random
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from podwright.content.ingest import DigestMismatch, Ingest, IngestClosed
from podwright.content.store import ContentStore
from podwright.oci.digest import Digest, digest_of
from podwright.oci.image import MANIFEST_LIMIT_BYTES, Descriptor
from podwright.oci.reference import Reference, parse_reference
from podwright.registry import blob, retry
from podwright.registry.base import BadRegistryAnswer, BlobUnknown, RateLimited, RegistryUnavailable, Settings, Stalled
from podwright.registry.client import RegistryClient
from tests.support.fake_registry import Answer, FakeRegistry, broken_after, fake_registry

DATA = random.Random(3).randbytes(5_000_000)
MANIFEST = b'{"schemaVersion":2}'


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_FIRST_PAUSE_S", 0.01)


@pytest.fixture
async def fake() -> AsyncIterator[FakeRegistry]:
    async with fake_registry() as fake:
        yield fake


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[RegistryClient]:
    settings = Settings(config_path=(tmp_path / "certs.d",), auth_files=(), progress_timeout_s=0.3, retries=3)
    client = RegistryClient(settings)
    yield client
    await client.close()


@pytest.fixture
def content(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "content")


def name(fake: FakeRegistry) -> Reference:
    return parse_reference(f"{fake.address}/team/app:v1")


def upstream(tmp_path: Path, domain: str, text: str) -> Reference:
    directory = tmp_path / "certs.d" / domain
    directory.mkdir(parents=True)
    (directory / "hosts.toml").write_text(text)
    return parse_reference(f"{domain}/team/app:v1")


def leftovers(content: ContentStore) -> list[Path]:
    root = content.path(digest_of(b"")).parents[2]
    return [path for path in root.rglob("*") if path.is_file()]


def first(times: int, answer: Callable[[web.Request], Awaitable[Answer]]) -> Callable[[web.Request], Awaitable[Answer]]:
    """`answer` for the first requests for blobs or manifests only."""
    left = times

    async def fault(request: web.Request) -> Answer:
        nonlocal left
        if left == 0 or not ("/blobs/" in request.path or "/manifests/" in request.path):
            return None
        left -= 1
        return await answer(request)

    return fault


# Connections that break.


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


@pytest.mark.parametrize("status", [500, 502, 503, 408])
async def test_faults_that_pass_are_waited_for(
    fake: FakeRegistry, client: RegistryClient, content: ContentStore, status: int
) -> None:
    async def fail(_request: web.Request) -> Answer:
        return web.Response(status=status, text="<html>gateway</html>")

    fake.add_manifest("team/app", "v1", MANIFEST)
    fake.faults.append(first(2, fail))
    assert (await client.resolve_manifest(name(fake))).data == MANIFEST
    fake.faults[0] = first(2, fail)
    descriptor = fake.add_blob(DATA)
    await client.fetch_blob(name(fake), descriptor, content)
    fake.faults[0] = first(-1, fail)
    with pytest.raises(RegistryUnavailable, match=f"answers {status} for {fake.address}/team/app manifests/v1"):
        await client.resolve_manifest(name(fake))


async def test_a_pause_that_is_asked_for(fake: FakeRegistry, client: RegistryClient) -> None:
    async def later(_request: web.Request) -> Answer:
        return web.json_response(
            {"errors": [{"code": "TOOMANYREQUESTS", "message": "slow\x07 down"}]},
            status=429, headers={"Retry-After": retry_after},
        )  # fmt: skip

    fake.add_manifest("team/app", "v1", MANIFEST)
    retry_after = "1"
    fake.faults.append(first(1, later))
    began = time.monotonic()
    await client.resolve_manifest(name(fake))
    assert 1 <= time.monotonic() - began < 3
    retry_after = "3600"
    fake.faults[0] = first(-1, later)
    with pytest.raises(RateLimited, match=r"allows no more requests now \(TOOMANYREQUESTS: slow  down\)") as caught:
        await client.resolve_manifest(name(fake))
    assert caught.value.retry_after_s == 3600


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

    release = asyncio.Event()
    fake.faults.append(first(1, hang))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.15):
            await client.fetch_blob(name(fake), descriptor, content)
    release.set()
    counted: list[int] = []
    await client.fetch_blob(name(fake), descriptor, content, on_bytes=counted.append)
    assert counted[0] >= 1_000_000
    assert sum(counted) == len(DATA)


# Lies.


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
        reference = upstream(
            tmp_path, "q.invalid", f'server = "http://{fake.address}"\n[host."http://{mirror.address}"]\n'
        )
        await client.fetch_blob(reference, descriptor, content)
        fetched = await client.fetch_manifest(reference, Descriptor("x", digest, len(MANIFEST)))
        assert (fetched.data, len(mirror.seen)) == (MANIFEST, 2)
        assert all("ns=q.invalid" in request.path for request in mirror.seen)
        assert not any("ns=" in request.path for request in fake.seen)
    assert content.read(descriptor.digest, limit_bytes=len(DATA)) == DATA


async def test_manifests_that_are_not_what_was_asked_for(fake: FakeRegistry, client: RegistryClient) -> None:
    digest = digest_of(MANIFEST)
    fake.manifests[f"team/app/manifests/{digest}"] = "x", b"other"
    by_digest = parse_reference(f"{fake.address}/team/app@{digest}")
    with pytest.raises(DigestMismatch, match=rf"manifest {fake.address}/team/app {digest} from {fake.address}"):
        await client.resolve_manifest(by_digest)
    fake.add_manifest("team/app", "v1", MANIFEST)
    with pytest.raises(DigestMismatch, match="expected 5 bytes, got 19 bytes"):
        await client.fetch_manifest(name(fake), Descriptor("x", digest, 5))

    async def lie(_request: web.Request) -> Answer:
        return web.Response(body=MANIFEST, headers={"Docker-Content-Digest": digest_of(b"other")})

    fake.faults.append(lie)
    with pytest.raises(DigestMismatch):
        await client.resolve_manifest(name(fake))


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_manifest_of_100_mib_takes_no_memory(fake: FakeRegistry, client: RegistryClient, chunked: bool) -> None:
    async def huge(request: web.Request) -> Answer:
        response = web.StreamResponse()
        if chunked:
            response.enable_chunked_encoding()
        else:
            response.content_length = 100 << 20
        await response.prepare(request)
        for _ in range(1600):
            await response.write(b" " * 65536)
        return response

    fake.faults.append(huge)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadRegistryAnswer, match=f"more than {MANIFEST_LIMIT_BYTES} bytes"):
        await client.resolve_manifest(name(fake))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024
    with pytest.raises(BadRegistryAnswer, match="at most"):
        await client.fetch_manifest(name(fake), Descriptor("x", digest_of(b"x"), 100 << 20))


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


async def test_something_that_is_no_http(client: RegistryClient) -> None:
    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2p1\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises((BadRegistryAnswer, RegistryUnavailable), match="RegistryUnavailable: http"):
        await client.resolve_manifest(parse_reference(f"127.0.0.1:{port}/a"))
    server.close()
    await server.wait_closed()


# Parts.


async def test_a_slow_big_blob_is_fetched_in_parts(
    fake: FakeRegistry, client: RegistryClient, content: ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blob, "PART_BYTES", 400_000)
    monkeypatch.setattr(blob, "_SLOW_AFTER_S", 0.05)
    monkeypatch.setattr(blob, "_WORTH_PARTS_BYTES", 800_000)
    descriptor = fake.add_blob(DATA)
    at_once = most = 0

    async def slow(request: web.Request) -> Answer:
        nonlocal at_once, most
        whole = fake.blob_response(request, DATA)
        body = whole.body
        assert isinstance(body, bytes)
        response = web.StreamResponse(status=whole.status, headers=whole.headers)
        response.content_length = len(body)
        await response.prepare(request)
        at_once += 1
        most = max(most, at_once)
        try:
            for start in range(0, len(body), 50_000):
                await response.write(body[start : start + 50_000])
                await asyncio.sleep(0.01)
        finally:
            at_once -= 1
        return response

    fake.faults.append(first(-1, slow))
    counted: list[int] = []
    followed: list[Ingest] = []
    await client.fetch_blob(name(fake), descriptor, content, on_bytes=counted.append, on_ingest=followed.append)
    assert content.read(descriptor.digest, limit_bytes=len(DATA)) == DATA
    assert sum(counted) == len(DATA)
    assert len(followed) == 1
    assert most >= 3
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


# Foreign layers.

FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


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


async def test_a_blob_nobody_has(
    tmp_path: Path, fake: FakeRegistry, client: RegistryClient, content: ContentStore
) -> None:
    descriptor = Descriptor("x", Digest(digest_of(b"?")), 1)
    with pytest.raises(BlobUnknown, match=r"has no .*/team/app blobs/sha256:.* \(UNKNOWN: not here\)"):
        await client.fetch_blob(name(fake), descriptor, content)
    nobody = upstream(tmp_path, "q.invalid", 'capabilities = ["resolve"]\n')
    with pytest.raises(BlobUnknown, match=r"no endpoint of hosts\.toml"):
        await client.fetch_blob(nobody, descriptor, content)
