"""RemoveImage by way of the engine: all names and the image at once. Idempotent, also for calls at the same time."""

from __future__ import annotations

from podwright.base.errors import FailedPrecondition
from podwright.base.locks import KeyedLocks
from podwright.base.log import get_logger
from podwright.docker.engine import Engine
from podwright.docker.errors import Conflict, NoSuchObject
from podwright.docker.image.store import EngineImages
from podwright.image.model import ImageRecord
from podwright.image.remove import InUse

log = get_logger(__name__)
# moby, daemon/images/image_delete.go: built images stand on it, so that only its names can go.
_HAS_CHILDREN = "dependent child images"


class EngineRemover:
    """Removes images, one call an image at a time: the engine answers twins with errors."""

    def __init__(self, engine: Engine, images: EngineImages, mounted_by: InUse) -> None:
        self._engine, self._images, self._mounted_by = engine, images, mounted_by
        self._locks = KeyedLocks()

    async def remove(self, name_or_id: str) -> None:
        """Raises FailedPrecondition while a container of it runs, or mounts it, of which the engine knows nothing."""
        record = await self._images.find(name_or_id)
        if record is None:
            return
        if users := self._mounted_by(record.id):
            raise FailedPrecondition(f"image {name_or_id} is mounted by container {users[0][:13]}: remove that first")
        async with self._locks.hold(record.id):
            try:
                await self._remove(record)
            except NoSuchObject:  # somebody else, or the twin of this call
                return
        log.info("image removed", image=name_or_id, id=record.id, tags=record.repo_tags)

    async def _remove(self, record: ImageRecord) -> None:
        try:
            await self._engine.do("DELETE", f"/images/{record.id}", query={"force": True})
        except Conflict as error:
            if _HAS_CHILDREN not in str(error):
                raise
            for name in (*record.repo_tags, *record.repo_digests):
                await self._untag(name)

    async def _untag(self, name: str) -> None:
        try:
            await self._engine.do("DELETE", f"/images/{name}", query={"noprune": True})
        except NoSuchObject:  # the last tag takes the digests of its repository along
            return
