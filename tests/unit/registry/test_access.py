"""Requests that fail: when they are made again, and what is said of them; whom credentials are shown."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import resource
import time
from pathlib import Path

import pytest
import structlog
from aiohttp import web

from podwright.base.errors import PodwrightError
from podwright.content.ingest import DigestMismatch
from podwright.content.store import ContentStore
from podwright.oci.digest import digest_of
from podwright.oci.image import MANIFEST_LIMIT_BYTES, Descriptor
from podwright.oci.reference import parse_reference
from podwright.registry.base import (
    BadRegistryAnswer,
    Credentials,
    RateLimited,
    RegistryUnavailable,
)
from podwright.registry.client import RegistryClient
from tests.support.fake_registry import (
    ALICE,
    BASIC,
    MANIFEST,
    Answer,
    FakeRegistry,
    TokenServer,
    configured,
    fake_registry,
    first,
    name,
)

DATA = random.Random(3).randbytes(5_000_000)


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


async def test_mirrors_never_see_the_credentials_of_the_registry(
    tmp_path: Path, fake: FakeRegistry, client: RegistryClient
) -> None:
    async with fake_registry() as mirror:
        mirror.add_manifest("team/app", "v1", MANIFEST)

        async def wants_password(request: web.Request) -> Answer:
            if "Authorization" in request.headers:
                return None
            return web.Response(status=401, headers={"WWW-Authenticate": "Basic realm=x"})

        mirror.faults.append(wants_password)
        fake.faults.append(wants_password)
        reference = configured(
            tmp_path, "q.invalid", f'server = "http://{fake.address}"\n[host."http://{mirror.address}"]\n'
        )
        await client.resolve_manifest(reference, credentials=ALICE)
        assert {request.authorization for request in mirror.seen} == {None}
        assert fake.seen[-1].authorization == BASIC
        # Credentials that name the mirror, or the node's own for it, do go there.
        for_mirror = Credentials("alice", "hunter2", server_address=mirror.address)
        await client.resolve_manifest(reference, credentials=for_mirror)
        assert mirror.seen[-1].authorization == BASIC
        own = base64.b64encode(b"node:own").decode()
        (tmp_path / "auth.json").write_text(json.dumps({"auths": {mirror.address: {"auth": own}}}))
        await client.resolve_manifest(reference)
        assert mirror.seen[-1].authorization == f"Basic {own}"


async def test_neither_log_nor_errors_show_a_secret(
    tmp_path: Path, fake: FakeRegistry, elsewhere: FakeRegistry, client: RegistryClient, content: ContentStore
) -> None:
    descriptor = elsewhere.add_blob(DATA)
    server = TokenServer(fake)
    texts: list[str] = []

    async def handle(request: web.Request) -> Answer:
        answer = await server.guard(request)
        if answer is not None or "/manifests/" in request.path:
            return answer
        location = f"http://{elsewhere.address}/{descriptor.digest}?X-Amz-Signature=hunter5"
        return web.Response(status=302, headers={"Location": location})

    async def fail(_request: web.Request) -> Answer:
        return web.Response(status=500)

    fake.faults.append(handle)
    with structlog.testing.capture_logs() as logs:
        await client.resolve_manifest(name(fake), credentials=ALICE)
        elsewhere.faults.append(fail)
        for credentials in (ALICE, Credentials("alice", "hunter4"), Credentials(identity_token="hunter6")):
            try:
                await client.fetch_blob(name(fake), descriptor, content, credentials=credentials)
            except PodwrightError as error:
                texts.append(f"{error!r} {error} {error.__cause__!r}")
    texts += [str(line) for line in logs]
    assert len(texts) > 3
    for secret in ("hunter", BASIC.removeprefix("Basic "), "token-1"):
        assert not any(secret in text for text in texts)
