"""`image load`: images out of archives, for nodes that reach no registry. OCI layouts and docker-archives.

An archive is as hostile as a registry: what it says of digests and sizes is checked, its documents go through the
same parsers, its layers through the same sandbox. OCI image-spec, image-layout.md; docker-archives have no
specification beyond `docker save`.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from podwright.base.errors import InvalidArgument
from podwright.base.ids import random_suffix
from podwright.base.log import get_logger
from podwright.base.tasks import in_thread, shielded
from podwright.content.ingest import Ingest
from podwright.content.store import ContentStore
from podwright.image.archive import Archive, open_archive
from podwright.image.gc import Collector, Lease
from podwright.image.install import Arrival, Installer
from podwright.image.model import ImageRecord
from podwright.image.progress import PullTracker
from podwright.image.store import Names
from podwright.oci.digest import Digest, digest_algorithm, digest_hex, digest_of, is_digest
from podwright.oci.image import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    MANIFEST_LIMIT_BYTES,
    Descriptor,
    Index,
    Manifest,
    Platform,
    parse_config,
    parse_manifest,
)  # fmt: skip
from podwright.oci.platform import choose
from podwright.oci.reference import Reference, parse_reference

log = get_logger(__name__)
_CHUNK_BYTES = 1024 * 1024
_MAX_INDEX_DEPTH = 3
_MAX_IMAGES = 1000
IMAGE_NAME, REF_NAME = "io.containerd.image.name", "org.opencontainers.image.ref.name"


class _DockerImage(msgspec.Struct, rename="pascal"):
    """One image in a docker-archive's manifest.json."""

    config: str
    repo_tags: list[str] | None = None
    layers: list[str] | None = None


@dataclass(frozen=True)
class _Found:
    """An image of an archive: its documents are stored, its blobs are still in the archive under `files`."""

    manifest: Manifest
    digest: Digest
    manifests: dict[Digest, int]
    names: tuple[Reference, ...]
    named_digest: Digest | None
    files: dict[Digest, str]


@dataclass(frozen=True)
class FromArchive:
    """A loaded image's blobs; an `install.Source`."""

    archive: Archive
    files: dict[Digest, str]
    content: ContentStore

    async def fetch(
        self, descriptor: Descriptor, *, on_bytes: Callable[[int], None], on_ingest: Callable[[Ingest], None]
    ) -> None:
        name = self.files.get(descriptor.digest, blob_name(descriptor.digest))
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
        wanted = tuple(parse_reference(name) for name in names)
        for reference in wanted:
            if reference.digest:
                raise InvalidArgument(f"{reference}: a loaded image can be given tags, not digests")
        async with self._opened(path) as archive:
            with self._collector.lease() as lease:
                return await self._load(archive, path, wanted, lease)

    @asynccontextmanager
    async def _opened(self, path: Path) -> AsyncIterator[Archive]:
        """The archive, and after it, whatever happens, no spool."""
        stack = ExitStack()
        opening = asyncio.get_running_loop().run_in_executor(
            None, stack.enter_context, open_archive(path, self._spool / f"load-{random_suffix()}")
        )
        try:
            yield await asyncio.shield(opening)
        finally:
            await shielded(self._close(stack, opening), name="close archive")

    async def _close(self, stack: ExitStack, opening: asyncio.Future[Archive]) -> None:
        await asyncio.wait([opening])
        await in_thread(stack.close)

    async def _load(self, archive: Archive, path: Path, wanted: tuple[Reference, ...], lease: Lease) -> list[Loaded]:
        found = await self._find(archive, path, lease)
        if wanted and len(found) != 1:
            raise InvalidArgument(f"{path} holds {len(found)} images; a name can be given to one only")
        return [await self._install(archive, image, wanted, lease) for image in found]

    async def _install(self, archive: Archive, image: _Found, wanted: tuple[Reference, ...], lease: Lease) -> Loaded:
        references = wanted or image.names
        digests = [reference.with_digest(image.named_digest) for reference in references] if image.named_digest else []
        names = Names([reference.tagged for reference in references if reference.tagged], digests)
        arrival = Arrival(image.manifest, image.digest, image.manifests, names)
        source = FromArchive(archive, image.files, self._content)
        record = await self._installer.install(arrival, source, lease, PullTracker(str(image.digest)))
        log.info("image loaded", id=record.id, tags=names.tags)
        return Loaded(record, tuple(names.tags))

    async def _find(self, archive: Archive, path: Path, lease: Lease) -> list[_Found]:
        if archive.has("index.json") and archive.has("oci-layout"):
            return await self._find_oci(archive, path, lease)
        if archive.has("manifest.json"):
            return await self._find_docker(archive, path, lease)
        raise InvalidArgument(f"{path} is no image archive: it has neither index.json (OCI) nor manifest.json (Docker)")

    # -- OCI layouts

    async def _find_oci(self, archive: Archive, path: Path, lease: Lease) -> list[_Found]:
        index = parse_manifest(archive.read("index.json", limit_bytes=MANIFEST_LIMIT_BYTES))
        if not isinstance(index, Index):
            raise InvalidArgument(f"{path}: index.json is not an index")
        if len(index.manifests) > _MAX_IMAGES:
            raise InvalidArgument(f"{path}: more than {_MAX_IMAGES} images")
        by_digest: dict[Digest, _Found] = {}
        for descriptor in index.manifests:
            names = _names(descriptor)
            if (present := by_digest.get(descriptor.digest)) is not None:
                names = tuple(dict.fromkeys((*present.names, *names)))
            by_digest[descriptor.digest] = await self._descend(archive, descriptor, names, lease)
        if not by_digest:
            raise InvalidArgument(f"{path}: its index.json names no image")
        return list(by_digest.values())

    async def _descend(
        self, archive: Archive, descriptor: Descriptor, names: tuple[Reference, ...], lease: Lease
    ) -> _Found:
        manifests: dict[Digest, int] = {}
        named = descriptor.digest
        for _ in range(_MAX_INDEX_DEPTH):
            data = archive.read(blob_name(descriptor.digest), limit_bytes=MANIFEST_LIMIT_BYTES)
            if digest_of(data, digest_algorithm(descriptor.digest)) != descriptor.digest:
                raise InvalidArgument(f"{blob_name(descriptor.digest)} in the archive is not what its name says")
            document = parse_manifest(data, descriptor.media_type)
            lease.blobs.add(descriptor.digest)
            await self._content.put(data, algorithm=digest_algorithm(descriptor.digest))
            manifests[descriptor.digest] = len(data)
            if isinstance(document, Manifest):
                return _Found(document, descriptor.digest, manifests, names, named, {})
            descriptor = choose(document, self._platform, name="the archive")
        raise InvalidArgument(f"indexes within indexes, more than {_MAX_INDEX_DEPTH} deep")

    # -- docker-archives

    async def _find_docker(self, archive: Archive, path: Path, lease: Lease) -> list[_Found]:
        try:
            images = msgspec.json.decode(archive.read("manifest.json"), type=list[_DockerImage])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidArgument(f"{path}: manifest.json: {error}") from error
        if not 0 < len(images) <= _MAX_IMAGES:
            raise InvalidArgument(f"{path}: manifest.json names {len(images)} images")
        return [await self._docker_image(archive, image, lease) for image in images]

    async def _docker_image(self, archive: Archive, image: _DockerImage, lease: Lease) -> _Found:
        """A manifest for an image that has none. Its digest is ours alone, so the image gets no repo digest."""
        config = archive.read(image.config)
        parsed = parse_config(config)
        names = tuple(parse_reference(tag) for tag in image.repo_tags or () if tag)
        if len(image.layers or ()) != len(parsed.diff_ids):
            raise InvalidArgument(
                f"{image.config}: {len(parsed.diff_ids)} diff_ids for {len(image.layers or ())} layers"
            )
        files: dict[Digest, str] = {digest_of(config): image.config}
        layers = []
        for name in image.layers or ():
            digest, size, kind = await in_thread(_describe_layer, archive, name)
            files[digest] = name
            layers.append({"mediaType": kind, "digest": digest, "size": size})
        document = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": {"mediaType": DOCKER_CONFIG, "digest": digest_of(config), "size": len(config)},
            "layers": layers,
        }
        data = msgspec.json.encode(document)
        digest = digest_of(data)
        lease.blobs.add(digest)
        await self._content.put(data)
        manifest = parse_manifest(data, DOCKER_MANIFEST)
        assert isinstance(manifest, Manifest)
        return _Found(manifest, digest, {digest: len(data)}, names, None, files)


def blob_name(digest: Digest) -> str:
    """Where a blob is in an OCI layout."""
    return f"blobs/{digest_algorithm(digest)}/{digest_hex(digest)}"


def _names(descriptor: Descriptor) -> tuple[Reference, ...]:
    """What the index calls an image. A bare word ("latest") says no repository and is no name."""
    annotations = descriptor.annotations or {}
    for key in (IMAGE_NAME, REF_NAME):
        text = annotations.get(key, "")
        if text and (key == IMAGE_NAME or "/" in text or ":" in text) and not is_digest(text):
            reference = parse_reference(text)
            return (reference,) if reference.digest is None else ()
    return ()


def _describe_layer(archive: Archive, name: str) -> tuple[Digest, int, str]:
    """Digest, size and media type of a layer file; blocks."""
    fd = archive.open(name)
    try:
        size = os.fstat(fd).st_size
        with os.fdopen(os.dup(fd), "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        magic = os.pread(fd, 4, 0)
    finally:
        os.close(fd)
    kind = DOCKER_LAYER
    if magic[:2] == b"\x1f\x8b":
        kind += ".gzip"
    elif magic == b"\x28\xb5\x2f\xfd":
        kind += ".zstd"
    return Digest(f"sha256:{digest}"), size, kind
