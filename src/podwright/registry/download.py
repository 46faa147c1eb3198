"""Blobs on their way from a registry into the content store: which source, when again, when afresh.

A download holds its digest's ingest first and a place among the concurrent downloads second; nobody who has a
place waits for an ingest, so the two can't lock each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from podwright.base.errors import PodwrightError
from podwright.base.log import get_logger
from podwright.content.ingest import DigestMismatch, Ingest
from podwright.content.store import ContentStore
from podwright.oci.image import Descriptor
from podwright.registry.access import Access, Asker
from podwright.registry.base import BlobUnknown, Settings
from podwright.registry.blob import BlobStream, OnBytes, Source
from podwright.registry.hosts import Endpoint
from podwright.registry.retry import Backoff
from podwright.registry.transport import Transport

log = get_logger(__name__)
# So much more than before counts as progress, so that a server can't hold us for ever with a byte a connection.
_PROGRESS_BYTES = 1024 * 1024
_FOREIGN_URLS = 8
# Blobs that may be fetched in parts at a time; each keeps max_connections_per_blob parts in memory.
_BLOBS_IN_PARTS = 2

OnIngest = Callable[[Ingest], None]


class Downloads:
    """All blobs that are being fetched."""

    def __init__(self, settings: Settings, access: Access, transport: Transport) -> None:
        self._settings, self._access, self._transport = settings, access, transport
        self._places = asyncio.Semaphore(settings.max_concurrent_downloads)
        self._in_parts = asyncio.Semaphore(_BLOBS_IN_PARTS)

    async def fetch(
        self,
        endpoints: list[Endpoint],
        asker: Asker,
        descriptor: Descriptor,
        content: ContentStore,
        *,
        on_bytes: OnBytes,
        on_ingest: OnIngest | None,
    ) -> None:
        """See RegistryClient.fetch_blob."""
        sources = _sources(endpoints, descriptor)
        if not sources:
            raise BlobUnknown(f"{asker.reference}: no endpoint of hosts.toml may be asked for {descriptor.digest}")
        while True:
            ingest = await content.open_ingest(descriptor.digest, descriptor.size)
            resumed = ingest.received > 0
            try:
                if ingest.committed:
                    return _check_size(ingest, descriptor)
                if on_ingest is not None:
                    on_ingest(ingest)
                if resumed:
                    on_bytes(ingest.received)
                async with self._places:
                    return await self._from_sources(sources, asker, ingest, on_bytes)
            except DigestMismatch as error:
                # What an earlier attempt left may be to blame, or the source: each source is tried afresh once.
                sources = sources if resumed and ingest.received else sources[1:]
                await ingest.discard()
                if ingest.committed or not sources:
                    raise
                on_bytes(-ingest.received)
                log.warning("fetching a blob afresh", digest=descriptor.digest, error=str(error))
            finally:
                await ingest.close()

    async def _from_sources(self, sources: list[Source], asker: Asker, ingest: Ingest, on_bytes: OnBytes) -> None:
        """Bring the missing bytes from the first source that has them, and commit."""
        left = list(sources)
        backoff = Backoff(self._settings.retries)
        while ingest.received < ingest.size:
            source, before = left[0], ingest.received
            try:
                await self._stream(source, asker, ingest, on_bytes).fetch()
                break
            except PodwrightError as error:
                if ingest.received - before >= _PROGRESS_BYTES:
                    backoff.progressed()
                pause_s = backoff.next_pause(error)
                if isinstance(error, DigestMismatch) or (pause_s is None and len(left) == 1):
                    raise
                if ingest.received == before and len(left) > 1:
                    left.pop(0)
                    pause_s = 0.0
                log.info(
                    "a download was broken off", digest=ingest.digest, source=str(source),
                    have_bytes=ingest.received, size=ingest.size, error=str(error),
                )  # fmt: skip
                await asyncio.sleep(pause_s or 0.0)
        await ingest.commit(source=f"blob {ingest.digest} from {left[0]}")

    def _stream(self, source: Source, asker: Asker, ingest: Ingest, on_bytes: OnBytes) -> BlobStream:
        return BlobStream(
            self._access, self._transport, source, asker, ingest, on_bytes,
            connections=self._settings.max_connections_per_blob, in_parts=self._in_parts,
        )  # fmt: skip


def _sources(endpoints: list[Endpoint], descriptor: Descriptor) -> list[Source]:
    """A foreign layer's own addresses before the registry, which may hold it too; for any other the reverse."""
    own = [Source(endpoint.url, endpoint) for endpoint in endpoints]
    foreign = [
        Source(url) for url in (descriptor.urls or [])[:_FOREIGN_URLS] if url.startswith(("https://", "http://"))
    ]
    return foreign + own if descriptor.is_foreign else own + foreign


def _check_size(ingest: Ingest, descriptor: Descriptor) -> None:
    if ingest.offset != descriptor.size:
        raise DigestMismatch(
            f"{descriptor.size} bytes", f"{ingest.offset} bytes", f"the stored content {descriptor.digest}"
        )
