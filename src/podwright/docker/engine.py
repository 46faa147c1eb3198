"""HTTP to a Docker Engine over its unix socket: version negotiation, typed answers, errors in our own words.

The one place that talks to the engine, with `hijack` for connections that become streams of bytes. Nothing here knows
what a pod or an image is. Every request has a connection of its own (some 0.1 ms on a unix socket), so that none is
ever sent into one that a restart of the engine has cut. Docker Engine API v1.41 and newer,
https://docs.docker.com/reference/api/engine/.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlencode

import msgspec

from podwright.docker.errors import EngineFailed, EngineTooOld, EngineUnavailable, refusal
from podwright.docker.hijack import Hijacked, hijack

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")
Query = Mapping[str, object]

OLDEST_API = (1, 41)
NEWEST_API = (1, 47)
"""The newest version whose answers we know; an engine that has a newer one speaks this one with us."""
TIMEOUT_S = 120.0
ANSWER_LIMIT_BYTES = 64 * 1024 * 1024
_CHUNK_BYTES = 256 * 1024


class _Ping(msgspec.Struct):
    api_version: str = msgspec.field(default="", name="ApiVersion")
    min_api_version: str = msgspec.field(default="", name="MinAPIVersion")
    version: str = msgspec.field(default="", name="Version")


class Engine:
    """One engine. `connect` before the first request, `close` after the last; it may restart in between.

    Every method raises EngineUnavailable when the engine can't be reached, DeadlineExceeded never (TimeoutError is
    turned to EngineUnavailable), and for a refusal the kind that `errors.refusal` gives: NoSuchObject (404), Conflict
    (409), InvalidArgument (400), EngineFailed, …
    """

    def __init__(self, socket: Path, *, timeout_s: float = TIMEOUT_S) -> None:
        self._socket, self._timeout_s = socket, timeout_s
        self._session: aiohttp.ClientSession | None = None
        self._prefix = ""
        self.version = ""
        """The engine's own, for people: "20.10.24"."""
        self.api_version: tuple[int, int] = OLDEST_API
        """The API version that we speak with it."""

    async def connect(self) -> None:
        """Agree on an API version. Again after a restart of the engine does no harm. Raises EngineTooOld."""
        said = _decode(await self._whole("GET", "/version", None), _Ping, "GET /version")
        newest, oldest = _version(said.api_version), _version(said.min_api_version)
        chosen = min(newest, NEWEST_API)
        if chosen < OLDEST_API or chosen < oldest:
            raise EngineTooOld(
                f"Docker {said.version} at {self._socket} speaks API {said.min_api_version} to {said.api_version}; "
                f"Podwright needs one of {_text(OLDEST_API)} to {_text(NEWEST_API)}"
            )
        self.version, self.api_version = said.version, chosen
        self._prefix = f"/v{_text(chosen)}"

    async def get(
        self, path: str, answer: type[T], query: Query | None = None, *, headers: Mapping[str, str] | None = None
    ) -> T:
        """GET, its JSON as `answer`, a msgspec type."""
        return _decode(await self._whole("GET", self._prefix + path, query, headers=headers), answer, f"GET {path}")

    async def post(
        self, path: str, answer: type[T], body: object = None, query: Query | None = None, *,
        timeout_s: float | None = None,
    ) -> T:  # fmt: skip
        """POST of JSON, its JSON as `answer`. `timeout_s` in place of the usual one; 0: as long as it takes."""
        data = await self._whole("POST", self._prefix + path, query, body=body, timeout_s=timeout_s)
        return _decode(data, answer, f"POST {path}")

    async def do(
        self, method: str, path: str, body: object = None, query: Query | None = None, *, timeout_s: float | None = None
    ) -> None:
        """A request whose answer says nothing but that it was done. "Not modified" (304) is success: it was done."""
        await self._whole(method, self._prefix + path, query, body=body, timeout_s=timeout_s)

    async def read(self, path: str, query: Query | None = None) -> bytes:
        """GET of what is not JSON, at most `ANSWER_LIMIT_BYTES`."""
        return await self._whole("GET", self._prefix + path, query)

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, query: Query | None = None, *, body: AsyncIterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None, stall_timeout_s: float | None = None,
    ) -> AsyncIterator[AsyncIterator[bytes]]:  # fmt: skip
        """A request whose answer is read as it comes, for as long as it takes: events, logs, pulls, archives.

        `body` is sent as it is, in chunks. `stall_timeout_s`: how long nothing may come. Leaving the block ends the
        request, and with it a pull.
        """
        async with self._opened(method, self._prefix + path, query, body, headers, stall_timeout_s) as response:
            yield self._chunks(response)

    async def hijack(self, path: str, body: object = None, query: Query | None = None) -> Hijacked:
        """POST that turns the connection into the streams of a process (attach, exec start). The caller closes it.

        Without a `body` none is sent: the engine doesn't read one of attach, and it would be the process's first input.
        """
        sent = b"" if body is None else msgspec.json.encode(body)
        return await hijack(self._socket, _target(self._prefix + path, query), sent)

    async def _whole(
        self, method: str, path: str, query: Query | None, *, body: object = None,
        headers: Mapping[str, str] | None = None, timeout_s: float | None = None,
    ) -> bytes:  # fmt: skip
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        data = None if body is None else msgspec.json.encode(body)
        headers = headers if data is None else {"Content-Type": "application/json", **(headers or {})}
        try:
            async with asyncio.timeout(limit_s or None):
                async with self._opened(method, path, query, data, headers, None) as response:
                    return await _limited(self._chunks(response), f"{method} {path}")
        except TimeoutError as error:
            raise EngineUnavailable(f"Docker at {self._socket}: {method} {path}: no answer in {limit_s:g} s") from error

    @asynccontextmanager
    async def _opened(
        self, method: str, path: str, query: Query | None, body: bytes | AsyncIterable[bytes] | None,
        headers: Mapping[str, str] | None, stall_timeout_s: float | None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:  # fmt: skip
        import aiohttp
        from yarl import URL

        timeout = aiohttp.ClientTimeout(total=None, sock_read=stall_timeout_s)
        url = URL("http://docker" + _target(path, query), encoded=True)
        with _in_our_words(self._socket):
            response = await self._client().request(method, url, data=body, headers=headers, timeout=timeout)
        try:
            if response.status >= 400:
                words = await _limited(self._chunks(response), f"{method} {path}")
                raise refusal(response.status, words, f"{method} {path}")
            yield response
        finally:
            response.close()

    async def _chunks(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """The body as it comes. Errors of whoever uses it are not the engine's, so only the reading is watched."""
        chunks = response.content.iter_any().__aiter__()
        while True:
            with _in_our_words(self._socket):
                try:
                    chunk = await chunks.__anext__()
                except StopAsyncIteration:
                    return
            yield chunk

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            import aiohttp  # late: it takes a quarter of a second, and the native backend needs none

            self._session = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(str(self._socket), limit=0, force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, read_bufsize=_CHUNK_BYTES,
                skip_auto_headers={"Accept-Encoding"},  # what is limited here has to be what it will be
            )  # fmt: skip
        return self._session

    async def close(self) -> None:
        """Idempotent."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()


@contextmanager
def _in_our_words(socket: Path) -> Iterator[None]:
    import aiohttp

    try:
        yield
    except aiohttp.ClientConnectorError as error:
        why = error.os_error.strerror or error.os_error
        raise EngineUnavailable(f"no Docker Engine answers at {socket}: {why}; is it running?") from error
    except (aiohttp.ServerTimeoutError, TimeoutError) as error:
        raise EngineUnavailable(f"Docker at {socket} says nothing any more") from error
    except (aiohttp.ClientError, ConnectionError) as error:
        raise EngineUnavailable(f"Docker at {socket}: {error or type(error).__name__}") from error


async def _limited(chunks: AsyncIterator[bytes], request: str) -> bytes:
    parts: list[bytes] = []
    count = 0
    async for chunk in chunks:
        count += len(chunk)
        if count > ANSWER_LIMIT_BYTES:
            raise EngineFailed(f"Docker: {request}: the answer has more than {ANSWER_LIMIT_BYTES} bytes", 200)
        parts.append(chunk)
    return b"".join(parts)


def _decode(data: bytes, answer: type[T], request: str) -> T:
    try:
        return msgspec.json.decode(data, type=answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EngineFailed(f"Docker: {request}: an answer we don't understand: {error}", 200) from error


def _target(path: str, query: Query | None) -> str:
    return path + ("?" + urlencode({key: _word(value) for key, value in query.items()}, doseq=True) if query else "")


def _word(value: object) -> str | Sequence[str]:
    """As the engine reads query parameters: booleans as 1 and 0, filters as JSON."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, Mapping):
        return msgspec.json.encode(value).decode()
    return [str(each) for each in value] if isinstance(value, (list, tuple)) else str(value)


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else (0, 0)


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
