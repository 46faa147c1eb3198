"""What an image archive holds: OCI layouts and docker-archives, read as the hostile documents they may be.

What an archive says of digests and sizes is checked, and its documents go through the same parsers as a registry's.
OCI image-spec, image-layout.md; docker-archives have no specification beyond `docker save`.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from podwright.base.errors import InvalidArgument
from podwright.base.ids import random_suffix
from podwright.base.tasks import in_thread, shielded
from podwright.image.archive import Archive, open_archive
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

_MAX_INDEX_DEPTH = 3
_MAX_IMAGES = 1000
IMAGE_NAME, REF_NAME = "io.containerd.image.name", "org.opencontainers.image.ref.name"

Keep = Callable[[Digest, bytes], Awaitable[object]]
"""Is given each manifest and index that an image was found by."""


class _DockerImage(msgspec.Struct, rename="pascal"):
    """One image in a docker-archive's manifest.json."""

    config: str
    repo_tags: list[str] | None = None
    layers: list[str] | None = None


@dataclass(frozen=True)
class FoundImage:
    """An image of an archive. `manifests`: the documents it was found by, with sizes.

    `named_digest`: what its names may be joined with; None where `manifest` is of our making.
    """

    manifest: Manifest
    digest: Digest
    manifests: dict[Digest, int]
    names: tuple[Reference, ...]
    named_digest: Digest | None
    files: dict[Digest, str]

    def file(self, digest: Digest) -> str:
        """The name of the archive's file that holds a blob."""
        return self.files.get(digest, blob_name(digest))


@asynccontextmanager
async def opened(path: Path, spool: Path) -> AsyncIterator[Archive]:
    """The archive at `path`, and after it, whatever happens, nothing of ours in the directory `spool`.

    Raises NotFound, InvalidArgument for what is no archive, ResourceExhausted.
    """
    stack = ExitStack()
    opening = asyncio.get_running_loop().run_in_executor(
        None, stack.enter_context, open_archive(path, spool / f"load-{random_suffix()}")
    )
    try:
        yield await asyncio.shield(opening)
    finally:
        await shielded(_close(stack, opening), name="close archive")


async def _close(stack: ExitStack, opening: asyncio.Future[Archive]) -> None:
    await asyncio.wait([opening])
    await in_thread(stack.close)


def tags_to_give(names: Sequence[str]) -> tuple[Reference, ...]:
    """What a caller wants a loaded image to be called. Raises InvalidArgument."""
    wanted = tuple(parse_reference(name) for name in names)
    for reference in wanted:
        if reference.digest:
            raise InvalidArgument(f"{reference}: a loaded image can be given tags, not digests")
    return wanted


async def find_images(
    archive: Archive, path: Path, platform: Platform, keep: Keep, wanted: Sequence[Reference] = ()
) -> list[FoundImage]:
    """All images of the archive that `path` names, for the platform; `wanted` names need exactly one.

    Raises InvalidArgument, NotFound.
    """
    reader = _Reader(archive, path, platform, keep)
    if archive.has("index.json") and archive.has("oci-layout"):
        found = await reader.oci()
    elif archive.has("manifest.json"):
        found = await reader.docker()
    else:
        raise InvalidArgument(f"{path} is no image archive: it has neither index.json (OCI) nor manifest.json (Docker)")
    if wanted and len(found) != 1:
        raise InvalidArgument(f"{path} holds {len(found)} images; a name can be given to one only")
    return found


@dataclass(frozen=True)
class _Reader:
    archive: Archive
    path: Path
    platform: Platform
    keep: Keep

    async def oci(self) -> list[FoundImage]:
        index = parse_manifest(self.archive.read("index.json", limit_bytes=MANIFEST_LIMIT_BYTES))
        if not isinstance(index, Index):
            raise InvalidArgument(f"{self.path}: index.json is not an index")
        if len(index.manifests) > _MAX_IMAGES:
            raise InvalidArgument(f"{self.path}: more than {_MAX_IMAGES} images")
        by_digest: dict[Digest, FoundImage] = {}
        for descriptor in index.manifests:
            names = _names(descriptor)
            if (present := by_digest.get(descriptor.digest)) is not None:
                names = tuple(dict.fromkeys((*present.names, *names)))
            by_digest[descriptor.digest] = await self._descend(descriptor, names)
        if not by_digest:
            raise InvalidArgument(f"{self.path}: its index.json names no image")
        return list(by_digest.values())

    async def _descend(self, descriptor: Descriptor, names: tuple[Reference, ...]) -> FoundImage:
        manifests: dict[Digest, int] = {}
        named = descriptor.digest
        for _ in range(_MAX_INDEX_DEPTH):
            data = self.archive.read(blob_name(descriptor.digest), limit_bytes=MANIFEST_LIMIT_BYTES)
            if digest_of(data, digest_algorithm(descriptor.digest)) != descriptor.digest:
                raise InvalidArgument(f"{blob_name(descriptor.digest)} in the archive is not what its name says")
            document = parse_manifest(data, descriptor.media_type)
            await self.keep(descriptor.digest, data)
            manifests[descriptor.digest] = len(data)
            if isinstance(document, Manifest):
                return FoundImage(document, descriptor.digest, manifests, names, named, {})
            descriptor = choose(document, self.platform, name="the archive")
        raise InvalidArgument(f"indexes within indexes, more than {_MAX_INDEX_DEPTH} deep")

    async def docker(self) -> list[FoundImage]:
        try:
            images = msgspec.json.decode(self.archive.read("manifest.json"), type=list[_DockerImage])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidArgument(f"{self.path}: manifest.json: {error}") from error
        if not 0 < len(images) <= _MAX_IMAGES:
            raise InvalidArgument(f"{self.path}: manifest.json names {len(images)} images")
        return [await self._docker_image(image) for image in images]

    async def _docker_image(self, image: _DockerImage) -> FoundImage:
        """A manifest for an image that has none. Its digest is ours alone, so the image gets no repo digest."""
        config = self.archive.read(image.config)
        parsed = parse_config(config)
        names = tuple(parse_reference(tag) for tag in image.repo_tags or () if tag)
        if len(image.layers or ()) != len(parsed.diff_ids):
            raise InvalidArgument(
                f"{image.config}: {len(parsed.diff_ids)} diff_ids for {len(image.layers or ())} layers"
            )
        files: dict[Digest, str] = {digest_of(config): image.config}
        layers = []
        for name in image.layers or ():
            digest, size, kind = await in_thread(_describe_layer, self.archive, name)
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
        await self.keep(digest, data)
        manifest = parse_manifest(data, DOCKER_MANIFEST)
        assert isinstance(manifest, Manifest)
        return FoundImage(manifest, digest, {digest: len(data)}, names, None, files)


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
