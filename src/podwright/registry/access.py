"""One authorised request to one endpoint: which credentials it may see, the 401 dance, http for local registries."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import msgspec

from podwright.base.errors import PodwrightError
from podwright.base.log import get_logger
from podwright.content.ingest import DigestMismatch
from podwright.oci.reference import Reference
from podwright.registry.authorizer import Authorizer, challenges_of, refusal
from podwright.registry.base import (
    BadRegistryAnswer,
    BlobUnknown,
    Credentials,
    ManifestUnknown,
    RateLimited,
    RegistryUnavailable,
    Settings,
)
from podwright.registry.credentials import NodeCredentials
from podwright.registry.hosts import Endpoint
from podwright.registry.transport import NotTls, PortClosed, Request, Transport, read_limited

if TYPE_CHECKING:
    import aiohttp


log = get_logger(__name__)
_ERROR_LIMIT_BYTES = 64 * 1024


@dataclass(frozen=True)
class Asker:
    """Whose pull it is: the image's repository, and the credentials that came with the request."""

    reference: Reference
    credentials: Credentials | None = None

    @property
    def repository(self) -> str:
        return self.reference.path


class Access:
    """Requests for manifests and blobs. Keeps which local registries speak plain http."""

    def __init__(self, settings: Settings, transport: Transport) -> None:
        self._transport = transport
        self._authorizer = Authorizer(transport)
        self._node_credentials = NodeCredentials(settings.auth_files)
        self._plain: set[str] = set()

    @asynccontextmanager
    async def open(
        self, endpoint: Endpoint, asker: Asker, method: str, path: str, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response of 200 or 206 to a request for `path` ("manifests/latest") below the repository.

        Raises AuthenticationFailed, ManifestUnknown, BlobUnknown, RateLimited, RegistryUnavailable, BadRegistryAnswer.
        """
        credentials = await self._credentials(endpoint, asker)
        endpoint = self._spoken(endpoint)
        authorization = self._authorizer.header(endpoint, asker.repository, credentials)
        for _ in range(3):
            request = _request(endpoint, asker, method, path, headers, authorization)
            try:
                async with self._transport.open(request) as response:
                    if response.status != 401:
                        if response.status not in (200, 206):
                            raise await _failure(response, endpoint, asker, credentials, path)
                        yield response
                        return
                    challenges = challenges_of(response)
            except (NotTls, PortClosed) as error:
                # Nothing at 443 where no port was named says the same as no TLS at the one that was.
                if not endpoint.plain_http_fallback or (isinstance(error, PortClosed) and ":" in endpoint.host):
                    raise
                endpoint = self._plain_http(endpoint)
                continue
            authorization = await self._authorizer.authorize(
                endpoint, asker.repository, credentials, challenges, refused=authorization
            )
        raise refusal(endpoint.host, asker.repository, credentials)

    async def _credentials(self, endpoint: Endpoint, asker: Asker) -> Credentials | None:
        """Those of the request for the registry they are for; for a mirror the node's own, by the mirror's name."""
        given, domain = asker.credentials, asker.reference.domain
        if given is not None and not given.empty:
            if _are_for(given, endpoint, domain):
                return given
            if endpoint.is_upstream:
                log.warning("credentials are for another registry", registry=domain, address=given.server_address)
                return None
        name = domain if endpoint.is_upstream else endpoint.host
        return await self._node_credentials.lookup(name, asker.repository)

    def _spoken(self, endpoint: Endpoint) -> Endpoint:
        if endpoint.plain_http_fallback and endpoint.host in self._plain:
            return _as_plain(endpoint)
        return endpoint

    def _plain_http(self, endpoint: Endpoint) -> Endpoint:
        log.info("the local registry speaks plain http", registry=endpoint.host)
        self._plain.add(endpoint.host)
        return _as_plain(endpoint)


def _as_plain(endpoint: Endpoint) -> Endpoint:
    return replace(endpoint, url="http" + endpoint.url.removeprefix("https"), plain_http_fallback=False)


def _are_for(credentials: Credentials, endpoint: Endpoint, domain: str) -> bool:
    host = credentials.host
    if not host:
        return endpoint.is_upstream
    return host == endpoint.host.lower() or (endpoint.is_upstream and host == domain.lower())


def _request(
    endpoint: Endpoint, asker: Asker, method: str, path: str, headers: Mapping[str, str], authorization: str
) -> Request:
    url = f"{endpoint.url}/{asker.repository}/{path}"
    if not endpoint.is_upstream:
        # A mirror of several registries has to be told which one is meant, as containerd tells it.
        url += "?" + urlencode({"ns": asker.reference.domain})
    secrets = [*endpoint.headers]
    if authorization and not any(name.lower() == "authorization" for name, _ in secrets):
        secrets.append(("Authorization", authorization))
    return Request(
        method, url, tls=endpoint.tls, headers=headers, secrets=tuple(secrets),
        connect_timeout_s=endpoint.dial_timeout_s,
    )  # fmt: skip


async def _failure(
    response: aiohttp.ClientResponse, endpoint: Endpoint, asker: Asker, credentials: Credentials | None, path: str
) -> PodwrightError:
    """What a status other than success means; distribution-spec, "Error Codes"."""
    status, said = response.status, await _said(response)
    what = f"{asker.reference.name} {path}"
    if status == 403:
        return refusal(endpoint.host, asker.repository, credentials, said)
    if status == 404 and path.startswith("manifests/"):
        return ManifestUnknown(f"registry {endpoint.host} has no image {asker.reference}{said and f' ({said})'}")
    if status in (404, 410):
        return BlobUnknown(f"registry {endpoint.host} has no {what}{said and f' ({said})'}")
    if status == 416:
        return DigestMismatch("a blob that goes on", "a shorter one", f"{what} from {endpoint.host}")
    if status == 429:
        return RateLimited(
            f"registry {endpoint.host} allows no more requests now{said and f' ({said})'}", _retry_after(response)
        )
    answer = f"registry {endpoint.host} answers {status} for {what}{said and f' ({said})'}"
    return RegistryUnavailable(answer) if status >= 500 or status == 408 else BadRegistryAnswer(answer)


class _Error(msgspec.Struct):
    code: str = ""
    message: str = ""


class _Errors(msgspec.Struct):
    errors: list[_Error] = []


async def _said(response: aiohttp.ClientResponse) -> str:
    """The registry's own words, made safe to show; "" when it has none in the standard form."""
    try:
        data = await read_limited(response, _ERROR_LIMIT_BYTES, "error")
        errors = msgspec.json.decode(data, type=_Errors).errors
    except (BadRegistryAnswer, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    words = "; ".join(f"{error.code}: {error.message}" for error in errors[:3])
    return "".join(char if char.isprintable() else " " for char in words[:300])


def _retry_after(response: aiohttp.ClientResponse) -> float:
    """Seconds; the form with a date is not used by registries. RFC 9110, 10.2.3."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdecimal() else 0.0
