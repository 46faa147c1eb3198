"""A registry that misbehaves on demand: what no real one can be made to do.

It serves the manifests and blobs it is given, with ranges, and writes down every request. A test replaces single
answers through `faults`, a list of functions that are asked first: one that returns None passes the request on.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from multidict import CIMultiDictProxy

from podwright.content.store import ContentStore
from podwright.oci.digest import Digest, digest_of
from podwright.oci.image import OCI_MANIFEST, Descriptor
from podwright.oci.reference import Reference, parse_reference
from podwright.registry.base import Credentials

Answer = web.StreamResponse | None

MANIFEST = b'{"schemaVersion":2}'
ALICE = Credentials("alice", "hunter2")
BASIC = "Basic " + base64.b64encode(b"alice:hunter2").decode()


@dataclass(frozen=True)
class Seen:
    """A request that arrived."""

    method: str
    path: str
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def authorization(self) -> str | None:
        return self.headers.get("Authorization")


@dataclass
class FakeRegistry:
    """`address` is host:port. `manifests` by "repository/manifests/selector", `blobs` by digest."""

    address: str = ""
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    faults: list[Callable[[web.Request], Awaitable[Answer]]] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    serves_ranges: bool = True

    def add_blob(self, data: bytes) -> Descriptor:
        digest = digest_of(data)
        self.blobs[digest] = data
        return Descriptor("application/vnd.oci.image.layer.v1.tar", digest, len(data))

    def add_manifest(self, repository: str, tag: str, data: bytes, media_type: str = OCI_MANIFEST) -> Digest:
        digest = digest_of(data)
        for selector in (tag, digest):
            self.manifests[f"{repository}/manifests/{selector}"] = media_type, data
        return digest

    def requests(self, word: str) -> list[Seen]:
        """Those whose path contains `word`."""
        return [request for request in self.seen if word in request.path]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.seen.append(Seen(request.method, request.path_qs, request.headers, body))
        for fault in self.faults:
            answer = await fault(request)
            if answer is not None:
                return answer
        path = request.path.removeprefix("/v2/")
        if path in self.manifests:
            media_type, data = self.manifests[path]
            return web.Response(
                body=data, headers={"Content-Type": media_type, "Docker-Content-Digest": digest_of(data)}
            )
        data_or_none = self.blobs.get(path.rpartition("/")[2])
        if data_or_none is None:
            return web.json_response({"errors": [{"code": "UNKNOWN", "message": "not here"}]}, status=404)
        return self.blob_response(request, data_or_none)

    def blob_response(self, request: web.Request, data: bytes) -> web.Response:
        headers = {"Content-Type": "application/octet-stream"}
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        if not self.serves_ranges:
            return web.Response(body=data, headers=headers)
        headers["Accept-Ranges"] = "bytes"
        if match is None:
            return web.Response(body=data, headers=headers)
        start, end = int(match[1]), int(match[2]) if match[2] else len(data) - 1
        if start >= len(data):
            return web.Response(status=416, headers={"Content-Range": f"bytes */{len(data)}"})
        headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
        return web.Response(status=206, body=data[start : end + 1], headers=headers)


@asynccontextmanager
async def fake_registry(host: str = "127.0.0.1") -> AsyncIterator[FakeRegistry]:
    """One that listens on a port of `host` (a loopback address or name)."""
    fake = FakeRegistry()
    server = web.Server(fake.handle)  # type: ignore[arg-type]
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, host, 0)
    await site.start()
    fake.address = f"{host}:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        await runner.cleanup()


async def broken_after(request: web.Request, data: bytes, count: int, status: int = 200, **headers: str) -> Answer:
    """An answer that promises `data` and breaks the connection after `count` bytes."""
    response = web.StreamResponse(
        status=status,
        headers={"Content-Length": str(len(data)), **{k.replace("_", "-"): v for k, v in headers.items()}},
    )
    await response.prepare(request)
    await response.write(data[:count])
    await asyncio.sleep(0.02)  # what was written gets out before the reset
    assert request.transport is not None
    request.transport.abort()
    return response


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


def name(fake: FakeRegistry, repository: str = "team/app") -> Reference:
    return parse_reference(f"{fake.address}/{repository}:v1")


def configured(tmp_path: Path, domain: str, text: str) -> Reference:
    directory = tmp_path / "certs.d" / domain
    directory.mkdir(parents=True)
    (directory / "hosts.toml").write_text(text)
    return parse_reference(f"{domain}/team/app:v1")


def leftovers(content: ContentStore) -> list[Path]:
    root = content.path(digest_of(b"")).parents[2]
    return [path for path in root.rglob("*") if path.is_file()]
