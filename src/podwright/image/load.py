"""`image load`: images out of archives, for nodes that reach no registry. An archive is as hostile as a registry: its
layers go through the same sandbox."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from podwright.base.log import get_logger
from podwright.base.tasks import in_thread
from podwright.content.ingest import Ingest
from podwright.content.store import ContentStore
from podwright.image.archive import Archive
from podwright.image.contents import FoundImage, find_images, opened, tags_to_give
from podwright.image.gc import Collector, Lease
from podwright.image.install import Arrival, Installer
from podwright.image.model import ImageRecord
from podwright.image.progress import PullTracker
from podwright.image.store import Names
from podwright.oci.digest import Digest, digest_algorithm
from podwright.oci.image import Descriptor, Platform
from podwright.oci.reference import Reference

log = get_logger(__name__)
_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class FromArchive:
    """A loaded image's blobs; an `install.Source`."""

    archive: Archive
    image: FoundImage
    content: ContentStore

    async def fetch(
        self, descriptor: Descriptor, *, on_bytes: Callable[[int], None], on_ingest: Callable[[Ingest], None]
    ) -> None:
        name = self.image.file(descriptor.digest)
        ingest = await self.content.open_ingest(descriptor.digest, descriptor.size)
        try:
            if ingest.committed:
                return
            fd = self.archive.open(name)
            try:
                on_ingest(ingest)
                os.lseek(fd, ingest.received, os.SEEK_SET)
                while chunk := await in_thread(os.read, fd, _CHUNK_BYTES):
                    await ingest.write(chunk, source=name)
                    on_bytes(len(chunk))
            finally:
                os.close(fd)
            await ingest.commit(source=f"{name} in the archive")
        finally:
            await ingest.close()


@dataclass(frozen=True)
class Loaded:
    """An image that an archive held, and the tags that it got from it or from the caller."""

    record: ImageRecord
    tags: tuple[str, ...]


class Loader:
    """Loads archives."""

    def __init__(
        self, content: ContentStore, installer: Installer, collector: Collector, spool: Path, platform: Platform
    ) -> None:
        self._content, self._installer, self._collector = content, installer, collector
        self._spool, self._platform = spool, platform

    async def load(self, path: Path, names: Sequence[str]) -> list[Loaded]:
        """All images of the archive at `path`. `names` replace those it gives, if it holds exactly one image.

        Raises InvalidArgument, NotFound, ResourceExhausted, DigestMismatch.
        """
        wanted = tags_to_give(names)
        async with opened(path, self._spool) as archive:
            with self._collector.lease() as lease:

                async def keep(digest: Digest, document: bytes) -> None:
                    lease.blobs.add(digest)
                    await self._content.put(document, algorithm=digest_algorithm(digest))

                found = await find_images(archive, path, self._platform, keep, wanted)
                return [await self._install(archive, image, wanted, lease) for image in found]

    async def _install(
        self, archive: Archive, image: FoundImage, wanted: tuple[Reference, ...], lease: Lease
    ) -> Loaded:
        references = wanted or image.names
        digests = [reference.with_digest(image.named_digest) for reference in references] if image.named_digest else []
        names = Names([reference.tagged for reference in references if reference.tagged], digests)
        arrival = Arrival(image.manifest, image.digest, image.manifests, names)
        source = FromArchive(archive, image, self._content)
        record = await self._installer.install(arrival, source, lease, PullTracker(str(image.digest)))
        log.info("image loaded", id=record.id, tags=names.tags)
        return Loaded(record, tuple(names.tags))
