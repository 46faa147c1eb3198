"""The registry client: manifests and blobs of the distribution API, from mirrors and the registry itself.

`image/pull` calls it. It knows nothing of platforms, layers or what is unpacked when.
https://github.com/opencontainers/distribution-spec, spec.md, "Pull".
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from podwright.base.errors import PodwrightError
from podwright.base.log import get_logger
from podwright.content.ingest import DigestMismatch, Ingest
from podwright.content.store import ContentStore
from podwright.oci.digest import Digest, digest_algorithm, digest_of, is_digest
from podwright.oci.image import DOCKER_INDEX, DOCKER_MANIFEST, MANIFEST_LIMIT_BYTES, OCI_INDEX, OCI_MANIFEST, Descriptor
from podwright.oci.reference import Reference
from podwright.registry.access import Access, Asker
from podwright.registry.base import (
    BadRegistryAnswer,
    Credentials,
    FetchedManifest,
    ManifestUnknown,
    Settings,
)
from podwright.registry.download import Downloads
from podwright.registry.hosts import Endpoint, Hosts
from podwright.registry.retry import Backoff
from podwright.registry.transport import Transport, read_limited

if TYPE_CHECKING:
    import aiohttp


log = get_logger(__name__)
_ACCEPT = ", ".join((OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST, "*/*;q=0.1"))
# The kubelet tries again by itself, so a registry that is down is reported soon.
_MANIFEST_RETRIES = 2

Known = Callable[[Digest], bytes | None]


class RegistryClient:
    """One a daemon. Safe for any number of concurrent calls; `close` ends its connections."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._hosts = Hosts(settings.config_path)
        self._transport = Transport(settings)
        self._access = Access(settings, self._transport)
        self._downloads = Downloads(settings, self._access, self._transport)

    async def resolve_manifest(
        self, reference: Reference, *, credentials: Credentials | None = None, known: Known | None = None
    ) -> FetchedManifest:
        """What the reference's digest or tag names now. The answer is verified, the media type only announced.

        Every call asks a registry with these very credentials, so success proves that they may pull the image.
        `known` gives the bytes of a manifest that is stored already: then a HEAD request may be all it takes.

        Raises ManifestUnknown, AuthenticationFailed, RegistryUnavailable, BadRegistryAnswer, RateLimited,
        DigestMismatch, InvalidArgument (a hosts.toml that can't be used).
        """
        endpoints = [
            endpoint
            for endpoint in self._hosts.endpoints(reference.domain)
            if (endpoint.can_pull if reference.digest else endpoint.can_resolve)
        ]
        return await self._first(endpoints, Asker(reference, credentials), reference.selector, reference.digest, known)

    async def fetch_manifest(
        self, reference: Reference, descriptor: Descriptor, *, credentials: Credentials | None = None
    ) -> FetchedManifest:
        """The manifest or index that `descriptor` names, in the reference's repository. Raises as above."""
        if descriptor.size > MANIFEST_LIMIT_BYTES:
            raise BadRegistryAnswer(
                f"{reference}: manifest {descriptor.digest} has {descriptor.size} bytes; "
                f"at most {MANIFEST_LIMIT_BYTES} are accepted"
            )
        endpoints = [endpoint for endpoint in self._hosts.endpoints(reference.domain) if endpoint.can_pull]
        fetched = await self._first(
            endpoints, Asker(reference, credentials), descriptor.digest, descriptor.digest, None
        )
        if len(fetched.data) != descriptor.size:
            raise DigestMismatch(
                f"{descriptor.size} bytes", f"{len(fetched.data)} bytes", f"manifest {descriptor.digest}"
            )
        return fetched

    async def fetch_blob(
        self,
        reference: Reference,
        descriptor: Descriptor,
        content: ContentStore,
        *,
        credentials: Credentials | None = None,
        on_bytes: Callable[[int], None] | None = None,
        on_ingest: Callable[[Ingest], None] | None = None,
    ) -> None:
        """Bring a blob into `content`; returns when it is verified and durable, at once if it is there.

        `on_bytes` gets the number of bytes that arrived, a call a chunk. Bytes found in a partial file are told in
        the first call; a negative number takes back what was thrown away. `on_ingest` gets the ingest to follow
        before its first byte arrives. It is called again with another one when the blob must be fetched afresh, and
        never when the blob is there already. Concurrent calls for one digest download it once. Cancelling keeps the
        partial file for the next call.

        Raises BlobUnknown, ResourceExhausted (the disk is full), and what resolve_manifest raises.
        """
        endpoints = [endpoint for endpoint in self._hosts.endpoints(reference.domain) if endpoint.can_pull]
        await self._downloads.fetch(
            endpoints,
            Asker(reference, credentials),
            descriptor,
            content,
            on_bytes=on_bytes or _ignore,
            on_ingest=on_ingest,
        )

    async def close(self) -> None:
        """End all connections."""
        await self._transport.close()

    async def _first(
        self, endpoints: list[Endpoint], asker: Asker, selector: str, digest: Digest | None, known: Known | None
    ) -> FetchedManifest:
        """The manifest from the first endpoint that has it; all are asked again when that may help."""
        backoff = Backoff(min(self._settings.retries, _MANIFEST_RETRIES))
        while True:
            errors: list[PodwrightError] = []
            for endpoint in endpoints:
                try:
                    return await self._manifest(endpoint, asker, selector, digest, known)
                except PodwrightError as error:
                    errors.append(error)
                    if endpoint is not endpoints[-1]:
                        log.info("trying the next endpoint", mirror=endpoint.url, error=str(error))
            if not errors:
                raise ManifestUnknown(f"{asker.reference}: no endpoint of hosts.toml has the capability that it takes")
            pause_s = backoff.next_pause(errors[-1])
            if pause_s is None:
                raise _with_mirrors(errors, endpoints)
            await asyncio.sleep(pause_s)

    async def _manifest(
        self, endpoint: Endpoint, asker: Asker, selector: str, digest: Digest | None, known: Known | None
    ) -> FetchedManifest:
        path, headers = f"manifests/{selector}", {"Accept": _ACCEPT}
        if known is not None and (found := await self._by_head(endpoint, asker, path, digest, known)):
            return found
        async with self._access.open(endpoint, asker, "GET", path, headers) as response:
            what = f"manifest {asker.reference.name} {selector} from {endpoint.host}"
            if (response.content_length or 0) > MANIFEST_LIMIT_BYTES:
                raise BadRegistryAnswer(f"{what}: the answer has more than {MANIFEST_LIMIT_BYTES} bytes")
            data = await read_limited(response, MANIFEST_LIMIT_BYTES, what)
        wanted = digest or _announced_digest(response)
        got = digest_of(data, digest_algorithm(wanted) if wanted else "sha256")
        if wanted and got != wanted:
            raise DigestMismatch(wanted, got, what)
        return FetchedManifest(Descriptor(_media_type(response), got, len(data)), data, endpoint.url)

    async def _by_head(
        self, endpoint: Endpoint, asker: Asker, path: str, digest: Digest | None, known: Known
    ) -> FetchedManifest | None:
        """The stored bytes, if the registry confirms that they are what the name means and that we may have them."""
        if digest is not None and known(digest) is None:
            return None
        try:
            async with self._access.open(endpoint, asker, "HEAD", path, {"Accept": _ACCEPT}) as response:
                current = _announced_digest(response)
        except BadRegistryAnswer:
            return None  # A proxy that knows no HEAD; GET will tell.
        if current is None or (digest is not None and current != digest):
            return None
        data = known(current)
        if data is None or digest_of(data, digest_algorithm(current)) != current:
            return None
        return FetchedManifest(Descriptor(_media_type(response), current, len(data)), data, endpoint.url)


def _ignore(_count: int) -> None:
    """For callers who don't count."""


def _announced_digest(response: aiohttp.ClientResponse) -> Digest | None:
    text = response.headers.get("Docker-Content-Digest", "")
    return Digest(text) if is_digest(text) else None


def _media_type(response: aiohttp.ClientResponse) -> str:
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _with_mirrors(errors: list[PodwrightError], endpoints: list[Endpoint]) -> PodwrightError:
    """The registry's own error, which comes last, and what its mirrors said before."""
    last = errors[-1]
    if len(errors) > 1:
        before = "; ".join(
            f"{endpoint.host}: {str(error)[:200]}" for endpoint, error in zip(endpoints, errors, strict=False)
        )
        last.args = (f"{last} (mirrors before it: {before})", *last.args[1:])
    return last
