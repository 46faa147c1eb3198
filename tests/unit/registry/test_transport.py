"""Redirects, proxies and other places that are told no secret."""

from __future__ import annotations

import random
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from podwright.content.store import ContentStore
from podwright.registry.base import (
    BadRegistryAnswer,
    RegistryUnavailable,
)
from podwright.registry.client import RegistryClient
from podwright.registry.transport import proxy_for
from tests.support.fake_registry import (
    ALICE,
    BASIC,
    Answer,
    FakeRegistry,
    TokenServer,
    configured,
    name,
)

DATA = random.Random(5).randbytes(300_000)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_secret_follows_a_redirect_to_another_host(
    tmp_path: Path,
    fake: FakeRegistry,
    elsewhere: FakeRegistry,
    client: RegistryClient,
    content: ContentStore,
    status: int,
) -> None:
    descriptor = elsewhere.add_blob(DATA)
    configured(tmp_path, fake.address, f'server = "http://{fake.address}"\n[header]\nX-Api-Key = "hunter3"\n')
    server = TokenServer(fake)
    cdn = f"http://{elsewhere.address}/cdn/{descriptor.digest}?sig=a%2Fb%3D&x=%20y"

    async def handle(request: web.Request) -> Answer:
        answer = await server.guard(request)
        return answer or web.Response(status=status, headers={"Location": cdn})

    fake.faults.append(handle)
    await client.fetch_blob(name(fake), descriptor, content, credentials=ALICE)
    assert content.has(descriptor.digest)
    authorized = fake.requests("/blobs/")[-1]
    assert authorized.authorization == "Bearer token-1"
    assert authorized.headers["X-Api-Key"] == "hunter3"
    (request,) = elsewhere.seen
    assert request.path == cdn.removeprefix(f"http://{elsewhere.address}")
    assert "Authorization" not in request.headers
    assert "X-Api-Key" not in request.headers
    assert "hunter" not in str(request)


async def test_secrets_do_not_come_back_after_a_detour(
    fake: FakeRegistry, elsewhere: FakeRegistry, client: RegistryClient, content: ContentStore
) -> None:
    """The registry redirects abroad, and from there an address of the registry's own is named."""
    descriptor = fake.add_blob(DATA)

    async def away(request: web.Request) -> Answer:
        if request.path.startswith("/v2/"):
            if request.headers.get("Authorization") != BASIC:
                return web.Response(status=401, headers={"WWW-Authenticate": "Basic realm=x"})
            return web.Response(status=302, headers={"Location": f"http://{elsewhere.address}/detour"})
        return None

    async def back(_request: web.Request) -> Answer:
        return web.Response(status=302, headers={"Location": f"http://{fake.address}/files/{descriptor.digest}"})

    fake.faults.append(away)
    elsewhere.faults.append(back)
    await client.fetch_blob(name(fake), descriptor, content, credentials=ALICE)
    assert fake.requests("/files/")[0].authorization is None


async def test_secrets_follow_a_redirect_within_the_registry(
    fake: FakeRegistry, client: RegistryClient, content: ContentStore
) -> None:
    descriptor = fake.add_blob(DATA)

    async def within(request: web.Request) -> Answer:
        if request.headers.get("Authorization") != BASIC:
            return web.Response(status=401, headers={"WWW-Authenticate": "Basic realm=x"})
        if request.path.startswith("/v2/"):
            return web.Response(status=302, headers={"Location": f"/files/{descriptor.digest}"})
        return None

    fake.faults.append(within)
    await client.fetch_blob(name(fake), descriptor, content, credentials=ALICE)
    assert fake.requests("/files/")[0].authorization == BASIC


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("file:///etc/passwd", "no http address"),
        ("/v2/again", "redirects more than"),
        ("http://[::1", "RegistryUnavailable"),
        ("http://user:pass@localhost:1/", "RegistryUnavailable"),
    ],
)
async def test_redirects_that_lead_nowhere(fake: FakeRegistry, client: RegistryClient, target: str, words: str) -> None:
    async def astray(_request: web.Request) -> Answer:
        return web.Response(status=302, headers={"Location": target})

    fake.faults.append(astray)
    with pytest.raises((BadRegistryAnswer, RegistryUnavailable), match=words):
        await client.resolve_manifest(name(fake))


async def test_netrc_is_not_asked(
    tmp_path: Path, fake: FakeRegistry, client: RegistryClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login eve password stolen\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    await client.resolve_manifest(name(fake))
    assert fake.seen[-1].authorization is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://q.io/v2", "http://proxy.example:3128"),
        ("http://q.io/v2", "http://plain.example:3128"),
        ("https://inner.corp.example/v2", None),
        ("https://127.0.0.1:5000/v2", None),
        ("http://localhost:5000/v2", None),
    ],
)
def test_proxies_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, url: str, expected: str | None) -> None:
    for variable, value in {
        "https_proxy": "http://proxy.example:3128", "http_proxy": "http://plain.example:3128",
        "no_proxy": ".corp.example",
    }.items():  # fmt: skip
        monkeypatch.setenv(variable, value)
    assert proxy_for(urlsplit(url)) == expected
