"""Tokens: fetched once, kept apart, replaced, refused."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs

import pytest
from aiohttp import web

from podwright.base.errors import PodwrightError
from podwright.registry import auth
from podwright.registry.base import (
    AuthenticationFailed,
    BadRegistryAnswer,
    Credentials,
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
    fake_registry,
    name,
)


async def test_a_token_is_fetched_once_and_kept_for_its_repository(fake: FakeRegistry, client: RegistryClient) -> None:
    fake.add_manifest("team/other", "v1", MANIFEST)
    server = TokenServer(fake)
    fake.faults.append(server.guard)
    for _ in range(3):
        await client.resolve_manifest(name(fake), credentials=ALICE)
    await asyncio.gather(*(client.resolve_manifest(name(fake), credentials=ALICE) for _ in range(4)))
    assert server.given == 1
    await client.resolve_manifest(name(fake, "team/other"), credentials=ALICE)
    assert server.given == 2
    assert all(request.authorization != BASIC for request in fake.requests("/v2/"))


async def test_many_at_once_ask_for_one_token(fake: FakeRegistry, client: RegistryClient) -> None:
    server = TokenServer(fake)
    fake.faults.append(server.guard)
    await asyncio.gather(*(client.resolve_manifest(name(fake), credentials=ALICE) for _ in range(8)))
    assert server.given == 1


async def test_a_token_that_lost_its_worth_is_replaced(
    fake: FakeRegistry, client: RegistryClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = TokenServer(fake)
    fake.faults.append(server.guard)
    await client.resolve_manifest(name(fake), credentials=ALICE)
    server.valid.clear()
    await client.resolve_manifest(name(fake), credentials=ALICE)
    assert server.given == 2
    monkeypatch.setattr(auth, "_MARGIN_S", 1000.0)  # from now on tokens are old when they come
    server.valid.clear()
    for given in (3, 4):
        await client.resolve_manifest(name(fake), credentials=ALICE)
        assert server.given == given


async def test_tokens_are_not_shared_between_credentials(fake: FakeRegistry, client: RegistryClient) -> None:
    fake.faults.append(TokenServer(fake).guard)
    await client.resolve_manifest(name(fake), credentials=ALICE)
    for other in (None, Credentials("alice", "wrong"), Credentials("bob", "hunter2"), Credentials(identity_token="x")):
        with pytest.raises(AuthenticationFailed, match=f"{fake.address}, its token server .*/token, refuses"):
            await client.resolve_manifest(name(fake), credentials=other)
    await client.resolve_manifest(name(fake), credentials=ALICE)


async def test_anonymous_tokens(fake: FakeRegistry, client: RegistryClient) -> None:
    fake.add_manifest("public/app", "v1", MANIFEST)
    fake.faults.append(TokenServer(fake).guard)
    assert (await client.resolve_manifest(name(fake, "public/app"))).data == MANIFEST
    assert fake.requests("/token")[0].authorization is None


async def test_identity_tokens_are_posted(fake: FakeRegistry, client: RegistryClient) -> None:
    fake.faults.append(TokenServer(fake).guard)
    await client.resolve_manifest(name(fake), credentials=Credentials(identity_token="refresh me"))
    (request,) = fake.requests("/token")
    assert request.method == "POST"
    assert request.path == "/token"
    assert parse_qs(request.body.decode())["grant_type"] == ["refresh_token"]


async def test_registry_tokens_are_used_as_they_are(fake: FakeRegistry, client: RegistryClient) -> None:
    server = TokenServer(fake)
    server.valid["mine"] = "team/app"
    fake.faults.append(server.guard)
    await client.resolve_manifest(name(fake), credentials=Credentials(registry_token="mine"))
    assert [request.authorization for request in fake.seen] == ["Bearer mine"]
    with pytest.raises(AuthenticationFailed):
        await client.resolve_manifest(name(fake), credentials=Credentials(registry_token="not mine"))
    assert fake.requests("/token") == []


@pytest.mark.parametrize(
    ("status", "challenge", "requests"), [(401, "Basic realm=x", 2), (401, "Negotiate", 1), (401, "", 1), (403, "", 1)]
)
async def test_refusals_are_quick(
    fake: FakeRegistry, client: RegistryClient, status: int, challenge: str, requests: int
) -> None:
    async def refuse(_request: web.Request) -> Answer:
        return web.Response(status=status, headers={"WWW-Authenticate": challenge})

    fake.faults.append(refuse)
    with pytest.raises(AuthenticationFailed, match="user 'alice' for team/app"):
        await client.resolve_manifest(name(fake), credentials=ALICE)
    assert len(fake.seen) == requests


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [(500, b"", RegistryUnavailable), (200, b"<html>", AuthenticationFailed), (200, b" " * 999_999, BadRegistryAnswer)],
    ids=["fails", "no-json", "too-long"],
)
async def test_a_token_server_that_is_broken(
    fake: FakeRegistry, client: RegistryClient, status: int, body: bytes, error: type[PodwrightError]
) -> None:
    async def broken(request: web.Request) -> Answer:
        if request.path == "/token":
            return web.Response(status=status, body=body)
        return web.Response(status=401, headers={"WWW-Authenticate": f'Bearer realm="http://{fake.address}/token"'})

    fake.faults.append(broken)
    with pytest.raises(error, match="token server"):
        await client.resolve_manifest(name(fake), credentials=ALICE)


async def test_a_token_server_elsewhere_gets_the_password_and_cannot_pass_it_on(
    fake: FakeRegistry, elsewhere: FakeRegistry, client: RegistryClient
) -> None:
    async with fake_registry() as third:
        server = TokenServer(fake, f"http://{elsewhere.address}/token")
        fake.faults.append(server.guard)

        async def pass_on(_request: web.Request) -> Answer:
            return web.Response(status=307, headers={"Location": f"http://{third.address}/token"})

        elsewhere.faults.append(pass_on)
        for credentials in (ALICE, Credentials(identity_token="refresh me")):
            with pytest.raises(PodwrightError):
                await client.resolve_manifest(name(fake), credentials=credentials)
        assert elsewhere.seen[0].authorization == BASIC
        assert all(request.authorization is None and b"refresh" not in request.body for request in third.seen)
    assert all(request.authorization is None for request in fake.seen)
