"""PullImage: reference → manifest for this machine → `install`.

Every pull asks the registry with its own credentials, whatever is here already: that an image is cached proves
nothing about who may use it. Calls with the same reference and the same credentials share one pull.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from podwright.base.errors import InvalidArgument
from podwright.base.log import get_logger
from podwright.base.tasks import Tasks
from podwright.content.ingest import DigestMismatch, Ingest
from podwright.content.store import ContentStore
from podwright.image.gc import Collector, Lease
from podwright.image.install import Arrival, Installer
from podwright.image.joined import Joined
from podwright.image.model import ImageRecord
from podwright.image.progress import ProgressBoard, PullTracker
from podwright.image.settings import Settings
from podwright.image.store import Names
from podwright.image.tracked import tracked
from podwright.oci.digest import Digest, is_digest
from podwright.oci.image import MANIFEST_LIMIT_BYTES, Descriptor, Index, Manifest, parse_manifest
from podwright.oci.platform import Platform, choose
from podwright.oci.reference import Reference, parse_reference
from podwright.registry.base import Credentials, FetchedManifest
from podwright.registry.client import RegistryClient

log = get_logger(__name__)
_MAX_INDEX_DEPTH = 3


@dataclass(frozen=True)
class FromRegistry:
    """A pull's blobs; an `install.Source`."""

    registry: RegistryClient
    content: ContentStore
    reference: Reference
    credentials: Credentials | None

    async def fetch(
        self, descriptor: Descriptor, *, on_bytes: Callable[[int], None], on_ingest: Callable[[Ingest], None]
    ) -> None:
        await self.registry.fetch_blob(
            self.reference, descriptor, self.content,
            credentials=self.credentials, on_bytes=on_bytes, on_ingest=on_ingest,
        )  # fmt: skip


class Puller:
    """All pulls of a daemon."""

    def __init__(
        self,
        registry: RegistryClient,
        content: ContentStore,
        installer: Installer,
        collector: Collector,
        board: ProgressBoard,
        settings: Settings,
        platform: Platform,
        tasks: Tasks,
    ) -> None:
        self._registry, self._content, self._installer = registry, content, installer
        self._collector, self._board, self._settings, self._platform = collector, board, settings, platform
        self._tasks = tasks
        self._pulls: Joined[ImageRecord] = Joined(tasks)

    async def pull(self, name: str, credentials: Credentials | None) -> ImageRecord:
        """The image that `name` means now, whole. Cancelled when all who asked for it have gone away."""
        if is_digest(name):
            raise InvalidArgument(f"{name} is an image id, not a name that can be pulled")
        reference = parse_reference(name)
        key = (str(reference), credentials.fingerprint if credentials else "")
        return await self._pulls.join(key, f"pull {reference}", lambda: self._tracked(reference, credentials))

    async def _tracked(self, reference: Reference, credentials: Credentials | None) -> ImageRecord:
        async def work(tracker: PullTracker) -> ImageRecord:
            with self._collector.lease() as lease:
                return await self._pull(reference, credentials, lease, tracker)

        return await tracked(
            reference, work, board=self._board, tasks=self._tasks, log_interval_s=self._settings.progress_log_interval_s
        )

    async def _pull(
        self, reference: Reference, credentials: Credentials | None, lease: Lease, tracker: PullTracker
    ) -> ImageRecord:
        found = await self._registry.resolve_manifest(reference, credentials=credentials, known=self._stored)
        manifests: dict[Digest, int] = {}
        manifest, digest = await self._for_this_machine(reference, found, credentials, lease, manifests)
        names = Names(
            [reference.tagged] if reference.tagged else [], [reference.with_digest(found.descriptor.digest)]
        )  # the digest that the user pulled, which for several platforms is the index's
        source = FromRegistry(self._registry, self._content, reference, credentials)
        return await self._installer.install(Arrival(manifest, digest, manifests, names), source, lease, tracker)

    async def _for_this_machine(
        self,
        reference: Reference,
        found: FetchedManifest,
        credentials: Credentials | None,
        lease: Lease,
        manifests: dict[Digest, int],
    ) -> tuple[Manifest, Digest]:
        """Down the indexes to the platform's manifest; each document is kept, because digests refer to them."""
        for _ in range(_MAX_INDEX_DEPTH):
            digest = found.descriptor.digest
            document = parse_manifest(found.data, found.descriptor.media_type)
            lease.blobs.add(digest)
            await self._content.put(found.data, algorithm=digest.partition(":")[0])
            manifests[digest] = len(found.data)
            if isinstance(document, Manifest):
                return document, digest
            found = await self._fetch(reference, self._choose(document, reference), credentials)
        raise InvalidArgument(f"{reference}: indexes within indexes, more than {_MAX_INDEX_DEPTH} deep")

    def _choose(self, index: Index, reference: Reference) -> Descriptor:
        return choose(index, self._platform, name=str(reference))

    async def _fetch(
        self, reference: Reference, descriptor: Descriptor, credentials: Credentials | None
    ) -> FetchedManifest:
        """From the store where it is there: that these credentials may see the repository is proven by now."""
        data = self._stored(descriptor.digest)
        if data is not None and len(data) == descriptor.size:
            return FetchedManifest(descriptor, data, "")
        return await self._registry.fetch_manifest(reference, descriptor, credentials=credentials)

    def _stored(self, digest: Digest) -> bytes | None:
        if not self._content.has(digest):
            return None
        try:
            return self._content.read(digest, limit_bytes=MANIFEST_LIMIT_BYTES)
        except DigestMismatch as error:
            log.warning("a stored manifest is damaged; it is fetched again", error=str(error))
            self._content.delete(digest)
        return None
