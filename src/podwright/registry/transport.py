"""HTTP to registries: timeouts, proxies, redirects that carry no secret abroad, errors in our own words.

The one place of this room that opens connections. A response is read by whoever asked; how long it may stall is set
here (`progress_timeout_s` between two reads), how long it may take is not.
"""

from __future__ import annotations

import errno
import ssl
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from podwright import __version__
from podwright.registry.base import BadRegistryAnswer, RegistryUnavailable, Settings, Stalled
from podwright.registry.hosts import is_local
from podwright.registry.tls import Tls, TlsContexts

if TYPE_CHECKING:
    import aiohttp


REDIRECT_LIMIT = 8
READ_BUFFER_BYTES = 1024 * 1024
_REDIRECTS = (301, 302, 303, 307, 308)
USER_AGENT = f"podwright/{__version__}"


class NotTls(RegistryUnavailable):
    """The server speaks, but not TLS."""


class PortClosed(RegistryUnavailable):
    """Nobody listens at the port."""


@dataclass(frozen=True)
class Request:
    """One request. `secrets` are headers for the first host alone: Authorization, and what hosts.toml adds."""

    method: str
    url: str
    tls: Tls = field(default_factory=Tls)
    headers: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[tuple[str, str], ...] = ()
    form: Mapping[str, str] | None = None
    follow: bool = True
    connect_timeout_s: float | None = None


class Transport:
    """Connections to registries, token servers and the stores that they redirect to."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._contexts = TlsContexts()
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[aiohttp.ClientResponse]:
        """The final response, after redirects, body unread. Raises RegistryUnavailable, NotTls, BadRegistryAnswer.

        Errors while the caller reads the body are turned to RegistryUnavailable as well.
        """
        async with _in_our_words(request.url):
            response = await self._follow(request)
            try:
                yield response
            finally:
                # A body that was not read to its end ends the connection; `release` would read on.
                response.release() if response.content.at_eof() else response.close()

    async def _follow(self, request: Request) -> aiohttp.ClientResponse:
        from yarl import URL  # late, see _in_our_words

        url, secrets, tls = request.url, request.secrets, request.tls
        for _ in range(REDIRECT_LIMIT):
            response = await self._send(request, url, secrets, tls)
            location = response.headers.get("Location", "")
            if not request.follow or response.status not in _REDIRECTS or not location:
                return response
            response.close()
            url, previous = str(URL(url, encoded=True).join(URL(location, encoded=True))), url
            if urlsplit(url).scheme not in ("http", "https"):
                raise BadRegistryAnswer(f"{shown(previous)} redirects to {shown(url)}, which is no http address")
            if _origin(url) != _origin(previous):
                secrets, tls = (), tls.anonymous()
        raise BadRegistryAnswer(f"{shown(request.url)} redirects more than {REDIRECT_LIMIT} times")

    async def _send(
        self, request: Request, url: str, secrets: tuple[tuple[str, str], ...], tls: Tls
    ) -> aiohttp.ClientResponse:
        import aiohttp  # late, see _in_our_words
        from yarl import URL

        # The body must come as it is: its digest is that of the bytes on the wire.
        headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **request.headers}
        pairs = [*headers.items(), *secrets]
        encrypted = url.startswith("https:")
        # `connect` counts the look-up of the name and TLS too.
        connect_s = request.connect_timeout_s or self._settings.connect_timeout_s
        return await self._opened().request(
            request.method, URL(url, encoded=True),
            headers=pairs, data=request.form, allow_redirects=False, proxy=proxy_for(urlsplit(url)),
            ssl=self._contexts.context(tls) if encrypted else True,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_read=self._settings.progress_timeout_s,
                sock_connect=connect_s, connect=2 * connect_s,
            ),
        )  # fmt: skip

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            import aiohttp  # late, see _in_our_words

            # No trust_env: it would send what ~/.netrc holds to whatever host it names.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=20.0),
                cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, read_bufsize=READ_BUFFER_BYTES,
            )  # fmt: skip
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()


@asynccontextmanager
async def _in_our_words(url: str) -> AsyncIterator[None]:
    """Name the address and what went wrong. Details of a request, its headers above all, stay out of it."""
    # Late: this takes a quarter of a second, which the start of a daemon need not wait for.
    import aiohttp

    try:
        yield
    except aiohttp.ClientConnectorCertificateError as error:
        raise BadRegistryAnswer(
            f"{shown(url)}: its certificate is not trusted: {error.certificate_error}; "
            "put the authority's certificate into the registry's directory (hosts.toml: ca)"
        ) from error
    except aiohttp.ClientSSLError as error:
        if _is_plain_answer(error):
            raise NotTls(f"{shown(url)}: the server does not speak TLS; name it http:// in a hosts.toml") from error
        raise RegistryUnavailable(f"{shown(url)}: TLS failed: {error}") from error
    except aiohttp.ConnectionTimeoutError as error:
        raise RegistryUnavailable(f"{shown(url)}: no connection in time") from error
    except (aiohttp.ServerTimeoutError, TimeoutError) as error:
        raise Stalled(f"{shown(url)}: no byte came in time") from error
    except aiohttp.ClientConnectorError as error:
        if error.os_error.errno == errno.ECONNREFUSED:
            raise PortClosed(f"{shown(url)}: connection refused") from error
        raise RegistryUnavailable(f"{shown(url)}: {error.os_error.strerror or error.os_error}") from error
    except aiohttp.ClientResponseError as error:
        raise BadRegistryAnswer(f"{shown(url)}: not an HTTP answer: {error.message[:200]}") from error
    except (aiohttp.ClientError, ConnectionError, ValueError) as error:
        raise RegistryUnavailable(f"{shown(url)}: {error or type(error).__name__}") from error


def _is_plain_answer(error: aiohttp.ClientSSLError) -> bool:
    cause = error.os_error
    return isinstance(cause, ssl.SSLError) and cause.reason in (
        "WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "UNKNOWN_PROTOCOL",
    )  # fmt: skip


def shown(url: str) -> str:
    """An address fit for a log: signatures of pre-signed addresses are secrets and stand in the query."""
    return url.partition("?")[0][:300]


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def proxy_for(parts: SplitResult) -> str | None:
    """HTTP_PROXY, HTTPS_PROXY and NO_PROXY as everywhere; never for this machine itself."""
    proxy = urllib.request.getproxies().get(parts.scheme)
    if not proxy or is_local(parts.netloc) or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return proxy


async def read_limited(response: aiohttp.ClientResponse, limit_bytes: int, what: str) -> bytes:
    """The whole body, or BadRegistryAnswer once it is longer than `limit_bytes`."""
    chunks: list[bytes] = []
    count = 0
    async for chunk in response.content.iter_any():
        count += len(chunk)
        if count > limit_bytes:
            raise BadRegistryAnswer(f"{what}: the answer has more than {limit_bytes} bytes")
        chunks.append(chunk)
    return b"".join(chunks)
