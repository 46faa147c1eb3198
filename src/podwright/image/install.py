"""From a manifest to an image that can run: its blobs brought in, its layers unpacked, its record stored last.

Pull and load share it; they differ in where blobs come from, which is a `Source`. A layer is unpacked while its
blob arrives: the worker follows the file as far as it is written, and what it makes counts only when the diff id
is right and the blob's digest, too, has been verified.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from podwright.base.errors import InvalidArgument, Unavailable
from podwright.base.log import get_logger
from podwright.base.tasks import gather_all
from podwright.content.ingest import DigestMismatch, Ingest, IngestClosed
from podwright.content.store import ContentStore
from podwright.image.gc import Lease
from podwright.image.model import ImageRecord
from podwright.image.progress import Phase, PullTracker
from podwright.image.store import ImageStore, Names
from podwright.oci.digest import Digest
from podwright.oci.image import CONFIG_LIMIT_BYTES, Descriptor, ImageConfig, Manifest, parse_config
from podwright.snapshot.base import LayerStore
from podwright.snapshot.layer import BlobSource

log = get_logger(__name__)


class Source(Protocol):
    """Where an image's blobs come from."""

    async def fetch(
        self,
        descriptor: Descriptor,
        *,
        on_bytes: Callable[[int], None],
        on_ingest: Callable[[Ingest], None],
    ) -> None:
        """Bring a blob into the content store, verified; see RegistryClient.fetch_blob for the callbacks."""


@dataclass(frozen=True)
class Arrival:
    """An image on its way in. `manifests`: manifest and index blobs, stored already, with sizes."""

    manifest: Manifest
    digest: Digest
    manifests: dict[Digest, int]
    names: Names


class Installer:
    """Fetches and unpacks; at most `max_unpacks` layers are unpacked at a time, over all images."""

    def __init__(
        self, images: ImageStore, content: ContentStore, layers: LayerStore, *, max_unpacks: int, discard_layers: bool
    ) -> None:
        self._images, self._content, self._layers = images, content, layers
        self._unpacking = asyncio.Semaphore(max_unpacks)
        self._discard_layers = discard_layers

    async def install(self, arrival: Arrival, source: Source, lease: Lease, tracker: PullTracker) -> ImageRecord:
        """Make the image whole and store its record. Raises what the source and the unpacker raise."""
        manifest = arrival.manifest
        lease.blobs.update(arrival.manifests, [manifest.config.digest], (layer.digest for layer in manifest.layers))
        tracker.layers_known([(layer.digest, layer.size) for layer in manifest.layers])
        if self._images.get(manifest.config.digest) is None:
            self._layers.warm()
        config = await self._config(manifest, source)
        lease.chain = list(config.diff_ids)
        pairs = zip(manifest.layers, config.diff_ids, strict=True)
        await gather_all(
            *(self._layer(at, layer, diff_id, source, tracker) for at, (layer, diff_id) in enumerate(pairs)),
            name="layer",
        )
        await self._layers.commit(config.diff_ids)
        if self._discard_layers:
            for layer in manifest.layers:
                self._layers.discard(self._content.path(layer.digest))
        return self._images.put(self._record(arrival, config), arrival.names)

    async def _config(self, manifest: Manifest, source: Source) -> ImageConfig:
        descriptor = manifest.config
        if descriptor.size > CONFIG_LIMIT_BYTES:
            raise InvalidArgument(f"image config {descriptor.digest} has {descriptor.size} bytes")
        await source.fetch(descriptor, on_bytes=lambda _count: None, on_ingest=lambda _ingest: None)
        config = parse_config(self._content.read(descriptor.digest, limit_bytes=CONFIG_LIMIT_BYTES))
        if len(config.diff_ids) != len(manifest.layers):
            raise InvalidArgument(
                f"this is no container image: its manifest has {len(manifest.layers)} layers and its config "
                f"{descriptor.digest} {len(config.diff_ids)} diff_ids"
            )
        return config

    async def _layer(
        self, at: int, descriptor: Descriptor, diff_id: Digest, source: Source, tracker: PullTracker
    ) -> None:
        if self._layers.layer(diff_id) is not None:
            tracker.phase(at, Phase.EXISTS)
            return
        growing: asyncio.Future[Ingest] = asyncio.get_running_loop().create_future()

        def began(ingest: Ingest) -> None:
            tracker.phase(at, Phase.FETCHING)
            if not growing.done():
                growing.set_result(ingest)

        async def fetch() -> None:
            await source.fetch(descriptor, on_bytes=lambda count: tracker.arrived(at, count), on_ingest=began)
            if tracker.state.layers[at].phase is not Phase.DONE:
                tracker.phase(at, Phase.UNPACKING)

        async with asyncio.TaskGroup() as group:
            fetching = group.create_task(fetch(), name="fetch")
            await asyncio.wait([fetching, growing], return_when=asyncio.FIRST_COMPLETED)  # type: ignore[type-var]
            if fetching.done() and fetching.exception() is not None:
                return  # the group raises it
            await self._unpack(descriptor, diff_id, fetching, growing.result() if growing.done() else None)
        tracker.phase(at, Phase.DONE)

    async def _unpack(
        self, descriptor: Descriptor, diff_id: Digest, fetching: asyncio.Task[None], ingest: Ingest | None
    ) -> None:
        """Unpack while the blob arrives; if that fails, once more from the whole, verified blob.

        A broken download, or a mirror that sends something else first, is thus no fault of the layer's.
        """
        if ingest is not None:
            async with self._unpacking:
                try:
                    await self._apply(descriptor, diff_id, ingest.open_reader(), _announce(ingest))
                    return
                except (InvalidArgument, DigestMismatch, IngestClosed, Unavailable, FileNotFoundError) as error:
                    log.debug("a layer failed while it arrived", layer=descriptor.digest, error=str(error))
        await asyncio.wait([fetching])
        if fetching.exception() is not None:
            return  # which the group raises
        async with self._unpacking:
            fd = os.open(self._content.path(descriptor.digest), os.O_RDONLY | os.O_CLOEXEC)
            await self._apply(descriptor, diff_id, fd, None)

    async def _apply(
        self, descriptor: Descriptor, diff_id: Digest, fd: int, announced: AsyncIterator[int] | None
    ) -> None:
        try:
            await self._layers.apply(diff_id, BlobSource(descriptor.digest, fd, announced))
        finally:
            os.close(fd)

    def _record(self, arrival: Arrival, config: ImageConfig) -> ImageRecord:
        manifest = arrival.manifest
        blobs = {**arrival.manifests, manifest.config.digest: manifest.config.size}
        for layer in manifest.layers:
            if not self._discard_layers and self._content.has(layer.digest):
                blobs[layer.digest] = layer.size
        unpacked = [self._layers.layer(diff_id) for diff_id in set(config.diff_ids)]
        return ImageRecord(
            id=manifest.config.digest, repo_tags=[], repo_digests=[], manifest=arrival.digest, blobs=blobs,
            diff_ids=config.diff_ids, config=config.run, platform=config.platform, created=config.created,
            size_bytes=sum(blobs.values()) + sum(layer.size_bytes for layer in unpacked if layer), pulled_at=0,
        )  # fmt: skip


async def _announce(ingest: Ingest) -> AsyncIterator[int]:
    """How much of the blob is in the file, until it is whole."""
    offset = 0
    while True:
        offset = await ingest.wait_beyond(offset)
        yield offset
        if offset >= ingest.size:
            return
