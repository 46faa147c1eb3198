"""Where credentials go: to the registry they are for and its token server, and nowhere else, not even into the log."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import structlog
from aiohttp import web

from podwright.base.errors import PodwrightError
from podwright.content.store import ContentStore
from podwright.oci.reference import Reference, parse_reference
from podwright.registry import auth
from podwright.registry.base import AuthenticationFailed, BadRegistryAnswer, Credentials, RegistryUnavailable, Settings
from podwright.registry.client import RegistryClient
from podwright.registry.transport import proxy_for
from tests.support.fake_registry import Answer, FakeRegistry, fake_registry

DATA = random.Random(5).randbytes(300_000)
MANIFEST = b'{"schemaVersion":2}'
ALICE = Credentials("alice", "hunter2")
BASIC = "Basic " + base64.b64encode(b"alice:hunter2").decode()


@pytest.fixture
async def fake() -> AsyncIterator[FakeRegistry]:
    async with fake_registry() as fake:
        fake.add_manifest("team/app", "v1", MANIFEST)
        yield fake


@pytest.fixture
async def elsewhere() -> AsyncIterator[FakeRegistry]:
    """Another origin: the same machine under another name."""
    async with fake_registry("localhost") as fake:
        yield fake


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[RegistryClient]:
    settings = Settings(config_path=(tmp_path / "certs.d",), auth_files=(tmp_path / "auth.json",), retries=0)
    client = RegistryClient(settings)
    yield client
    await client.close()


@pytest.fixture
def content(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "content")


def name(fake: FakeRegistry, repository: str = "team/app") -> Reference:
    return parse_reference(f"{fake.address}/{repository}:v1")


def hosts_toml(tmp_path: Path, domain: str, text: str) -> Reference:
    directory = tmp_path / "certs.d" / domain
    directory.mkdir(parents=True)
    (directory / "hosts.toml").write_text(text)
    return parse_reference(f"{domain}/team/app:v1")


class TokenServer:
    """Gives tokens to alice, and to nobody for public repositories; lets only its tokens through."""

    def __init__(self, fake: FakeRegistry, realm: str = "") -> None:
        self.realm = realm or f"http://{fake.address}/token"
        self.expires_in = 300
        self.valid: dict[str, str] = {}
        self.given = 0

    async def guard(self, request: web.Request) -> Answer:
        if request.path == "/token":
            return await self.token(request)
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        repository = request.path.removeprefix("/v2/").partition("/manifests/")[0].partition("/blobs/")[0]
        if self.valid.get(given) == repository:
            return None
        challenge = f'Bearer realm="{self.realm}",service="fake",scope="repository:{repository}:pull"'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    async def token(self, request: web.Request) -> Answer:
        form = dict((await request.post()).items()) if request.method == "POST" else {}
        scope = str(form.get("scope") or request.query.get("scope"))
        allowed = (
            request.headers.get("Authorization") == BASIC
            or form.get("refresh_token") == "refresh me"
            or scope.startswith("repository:public/")
        )
        if not allowed:
            return web.json_response({"details": "incorrect username or password"}, status=401)
        self.given += 1
        token = f"token-{self.given}"
        self.valid[token] = scope.split(":")[1]
        return web.json_response({"token": token, "expires_in": self.expires_in})


# Tokens.


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


# Redirects.


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
    hosts_toml(tmp_path, fake.address, f'server = "http://{fake.address}"\n[header]\nX-Api-Key = "hunter3"\n')
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


# Mirrors and foreign layers.


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
        reference = hosts_toml(
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


async def test_netrc_is_not_asked(
    tmp_path: Path, fake: FakeRegistry, client: RegistryClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login eve password stolen\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    await client.resolve_manifest(name(fake))
    assert fake.seen[-1].authorization is None


# The log.


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


# Proxies.


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
