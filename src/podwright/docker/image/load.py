"""`image load` into the engine: OCI layouts as well as docker-archives, which are all that Docker takes before 25.0.

What an archive holds is read here, as for our own images; the engine gets one docker-archive an image, made while it is
sent. Layers go as they are, but for those compressed by zstd, which Docker reads from 23.0 on.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path

import msgspec

from podwright.base.errors import InvalidArgument
from podwright.base.files import disk_error
from podwright.base.ids import random_suffix
from podwright.base.log import get_logger
from podwright.base.tasks import in_thread
from podwright.docker.engine import Engine
from podwright.docker.image.messages import MessageReader
from podwright.docker.image.store import EngineImages
from podwright.image.archive import Archive
from podwright.image.contents import FoundImage, find_images, opened, tags_to_give
from podwright.image.load import Loaded
from podwright.image.model import ImageRecord
from podwright.oci.digest import Digest, digest_hex
from podwright.oci.image import Descriptor
from podwright.oci.platform import host_platform
from podwright.oci.reference import Reference
from podwright.snapshot.decompress import CompressionError, open_stream

log = get_logger(__name__)
_CHUNK_BYTES = 1024 * 1024
_ZSTD = "zstd"


class EngineLoader:
    """Loads archives. `spool`: a directory of ours for what has to lie on disk meanwhile."""

    def __init__(self, engine: Engine, images: EngineImages, spool: Path) -> None:
        self._engine, self._images, self._spool = engine, images, spool
        self._platform = host_platform()

    async def load(self, path: Path, names: Sequence[str]) -> list[Loaded]:
        """As `image.load.Loader.load`. Raises InvalidArgument, NotFound, ResourceExhausted."""
        wanted = tags_to_give(names)
        async with opened(path, self._spool) as archive:
            found = await find_images(archive, path, self._platform, _forget, wanted)
            return [await self._load(archive, image, wanted or image.names) for image in found]

    async def _load(self, archive: Archive, image: FoundImage, names: Sequence[Reference]) -> Loaded:
        tags = [name.tagged for name in names if name.tagged]
        reader = MessageReader()
        body = self._docker_archive(archive, image, tags)
        headers = {"Content-Type": "application/x-tar"}
        async with self._engine.stream("POST", "/images/load", {"quiet": True}, body=body, headers=headers) as chunks:
            async for chunk in chunks:
                for message in reader.feed(chunk):
                    if message.error:
                        raise InvalidArgument(f"Docker can't load {', '.join(tags) or image.digest}: {message.error}")
        record = await self._loaded(image, tags)
        log.info("image loaded", id=record.id, tags=tags)
        return Loaded(record, tuple(tags))

    async def _loaded(self, image: FoundImage, tags: Sequence[str]) -> ImageRecord:
        """By its configuration's digest, or by name, where the engine makes ids of something else."""
        for name in (image.manifest.config.digest, *tags):
            if (record := await self._images.find(name)) is not None:
                return record
        raise InvalidArgument(f"Docker has loaded {image.digest}, and can't find it; give it a name")

    async def _docker_archive(self, archive: Archive, image: FoundImage, tags: Sequence[str]) -> AsyncIterator[bytes]:
        """The tar, piece by piece; of what both layers and names share the engine keeps one."""
        config = f"{digest_hex(image.manifest.config.digest)}.json"
        layers = [f"{digest_hex(layer.digest)}.tar" for layer in image.manifest.layers]
        manifest = msgspec.json.encode([{"Config": config, "RepoTags": list(tags) or None, "Layers": layers}])
        yield _header("manifest.json", len(manifest)) + _padded(manifest)
        files = dict(zip([config, *layers], [image.manifest.config, *image.manifest.layers], strict=True))
        for name, descriptor in files.items():
            fd = await self._open(archive, image, descriptor)
            try:
                yield _header(name, os.fstat(fd).st_size)
                while chunk := await in_thread(os.read, fd, _CHUNK_BYTES):
                    yield chunk
                yield bytes(-os.fstat(fd).st_size % tarfile.BLOCKSIZE)
            finally:
                os.close(fd)
        yield bytes(2 * tarfile.BLOCKSIZE)

    async def _open(self, archive: Archive, image: FoundImage, descriptor: Descriptor) -> int:
        fd = archive.open(image.file(descriptor.digest))
        if not descriptor.media_type.endswith(_ZSTD):
            return fd
        try:
            return await in_thread(self._decompressed, fd, descriptor.digest)
        finally:
            os.close(fd)

    def _decompressed(self, fd: int, digest: Digest) -> int:
        """A file without a name that holds the plain layer, from its first byte."""
        path = self._spool / f"layer-{random_suffix()}"
        plain = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        path.unlink()
        try:
            with os.fdopen(os.dup(plain), "wb") as file:
                file.writelines(_chunks(fd))
            os.lseek(plain, 0, os.SEEK_SET)
        except BaseException as error:
            os.close(plain)
            if isinstance(error, CompressionError):
                raise InvalidArgument(f"layer {digest}: {error}") from error
            raise disk_error(error, self._spool) if isinstance(error, OSError) else error from error
        return plain


async def _forget(_digest: Digest, _document: bytes) -> None:
    """The engine keeps no manifests."""


def _chunks(fd: int) -> Iterable[bytes]:
    stream = open_stream(lambda n: os.read(fd, n))
    while chunk := stream.read(_CHUNK_BYTES):
        yield chunk


def _header(name: str, size: int) -> bytes:
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o644
    return header.tobuf(tarfile.PAX_FORMAT)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % tarfile.BLOCKSIZE)
