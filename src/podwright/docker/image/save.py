"""`image save` out of the engine: its own docker-archive, or an OCI layout made of that, whatever its version."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from podwright.base.errors import AlreadyExists, NotFound
from podwright.base.files import disk_error
from podwright.base.ids import random_suffix
from podwright.base.new_file import NewFile
from podwright.base.tasks import in_thread
from podwright.docker.engine import Engine
from podwright.docker.image.store import EngineImages
from podwright.image.archive import Archive
from podwright.image.contents import FoundImage, find_images, opened
from podwright.image.save import Format, SavedImage, tags_to_save, write_archive
from podwright.oci.digest import Digest
from podwright.oci.platform import host_platform


class EngineSaver:
    """Saves images. `spool`: a directory of ours for what has to lie on disk meanwhile."""

    def __init__(self, engine: Engine, images: EngineImages, spool: Path) -> None:
        self._engine, self._images, self._spool = engine, images, spool

    async def save(self, names: Sequence[str], path: Path, form: Format) -> None:
        """Write images to a new archive. Raises NotFound, AlreadyExists, ResourceExhausted."""
        if path.exists():
            raise AlreadyExists(f"{path} exists; remove it first")
        wanted = await self._engine_names(names)
        if form == "docker":
            await self._fetch(wanted, path)
            return
        fetched = self._spool / f"save-{random_suffix()}.tar"
        try:
            await self._fetch(wanted, fetched)
            await self._convert(fetched, path, form)
        finally:
            fetched.unlink(missing_ok=True)

    async def _engine_names(self, names: Sequence[str]) -> list[str]:
        """By tags, so that the archive has them; by id where there is none."""
        found: dict[str, None] = {}
        for name in names:
            record = await self._images.find(name)
            if record is None:
                raise NotFound(f"image {name!r} is not here")
            found |= dict.fromkeys(tags_to_save(name, record) or [record.id])
        return list(found)

    async def _fetch(self, names: Sequence[str], path: Path) -> None:
        try:
            directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise NotFound(f"can't write {path}: {error.strerror}") from error
        try:
            with NewFile(directory, path.name, mode=0o644) as new:
                async with self._engine.stream("GET", "/images/get", {"names": names}) as chunks:
                    async for chunk in chunks:
                        await in_thread(_write, new.fd, chunk)
                await in_thread(new.sync)
                new.publish()
        except OSError as error:
            raise disk_error(error, path) from error
        finally:
            os.close(directory)

    async def _convert(self, fetched: Path, path: Path, form: Format) -> None:
        documents: dict[Digest, bytes] = {}

        async def keep(digest: Digest, document: bytes) -> None:
            documents[digest] = document

        async with opened(fetched, self._spool) as archive:
            found = await find_images(archive, fetched, host_platform(), keep)
            images = [_saved(archive, image, documents[image.digest]) for image in found]
            await in_thread(write_archive, images, path, form)


def _saved(archive: Archive, image: FoundImage, document: bytes) -> SavedImage:
    tags = [name.tagged for name in image.names]
    return SavedImage(tags, image.digest, document, image.manifest, lambda digest: archive.open(image.file(digest)))


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
