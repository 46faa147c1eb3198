"""Finding images at the engine. What can't change, the configuration behind an id, is asked for once and remembered.

Names are asked for each time: others use the engine, too, and what they pull, tag and remove shows at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from podwright.base.errors import InvalidArgument, NotFound
from podwright.base.ids import PrefixIndex
from podwright.base.log import get_logger
from podwright.base.tasks import gather_all
from podwright.docker.engine import Engine
from podwright.docker.errors import EngineFailed, NoSuchObject
from podwright.docker.image.model import Inspected, Listed, digests_of, record_of, tags_of
from podwright.image.model import ImageRecord
from podwright.image.pins import Pins
from podwright.oci.digest import is_digest
from podwright.oci.reference import parse_reference

log = get_logger(__name__)
_MAX_QUESTIONS = 8
_FULL_ID = re.compile(r"(?:sha256:)?([0-9a-f]{64})\Z")
# Shorter words of a to f and 0 to 9 are too likely to be meant as a name.
_PREFIX = re.compile(r"(?:sha256:)?([0-9a-f]{6,63})\Z")


class EngineImages:
    """The engine's images as records."""

    def __init__(self, engine: Engine, pins: Pins) -> None:
        self._engine, self._pins = engine, pins
        self._known: Mapping[str, ImageRecord] = {}

    async def find(self, name_or_id: str) -> ImageRecord | None:
        """By id, unique prefix of one, or name in any form; None when there is none. Raises AmbiguousId."""
        if found := _FULL_ID.match(name_or_id):
            return await self._inspect(f"sha256:{found[1]}")
        if is_digest(name_or_id):
            return await self._inspect(name_or_id)
        return await self._by_reference(name_or_id) or await self._by_prefix(name_or_id)

    async def _by_reference(self, name: str) -> ImageRecord | None:
        try:
            reference = parse_reference(name)
        except InvalidArgument:
            return None
        return await self._inspect(reference.with_digest(reference.digest) if reference.digest else reference.tagged)

    async def _by_prefix(self, text: str) -> ImageRecord | None:
        found = _PREFIX.match(text)
        if found is None:
            return None
        ids = PrefixIndex("image")
        for image in await self._list():
            ids.add(image.id.partition(":")[2])
        try:
            return await self._inspect("sha256:" + ids.resolve(found[1]))
        except NotFound:
            return None

    async def _inspect(self, name: str) -> ImageRecord | None:
        try:
            image = await self._engine.get(f"/images/{name}/json", Inspected)
        except NoSuchObject:
            return None
        return self._dressed(record_of(image))

    async def all(self) -> Sequence[ImageRecord]:
        """All images, but for those that only builds keep beneath others. One removed meanwhile is left out, as is one
        that the engine has and can't read: the kubelet needs the others."""
        listed, known = await self._list(), self._known
        unknown = [self._readable(image.id) for image in listed if image.id not in known]
        found = await gather_all(*unknown, name="inspect images", limit=_MAX_QUESTIONS)
        known = {**known, **{record.id: record for record in found if record is not None}}
        self._known = {image.id: known[image.id] for image in listed if image.id in known}
        return [self._named(image, known[image.id]) for image in listed if image.id in known]

    async def _readable(self, image_id: str) -> ImageRecord | None:
        try:
            return await self._inspect(image_id)
        except EngineFailed as error:
            log.warning("an image can't be read and is left out", id=image_id, error=str(error))
            return None

    async def _list(self) -> list[Listed]:
        return await self._engine.get("/images/json", list[Listed])

    def _named(self, image: Listed, record: ImageRecord) -> ImageRecord:
        """A record under the names that the image has now."""
        tags, digests = tags_of(image.repo_tags), digests_of(image.repo_digests)
        return self._dressed(msgspec.structs.replace(record, repo_tags=tags, repo_digests=digests, pinned=False))

    def _dressed(self, record: ImageRecord) -> ImageRecord:
        return msgspec.structs.replace(record, pinned=True) if self._pins.cover(record) else record
