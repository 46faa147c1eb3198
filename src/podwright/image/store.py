"""The images that are here: records on disk, and an index of every name they go by. Reads come from memory."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import msgspec

from podwright.base.errors import InvalidArgument, NotFound
from podwright.base.ids import PrefixIndex
from podwright.base.log import get_logger
from podwright.image.model import ImageRecord
from podwright.image.pins import Pins
from podwright.oci.digest import Digest
from podwright.oci.reference import parse_reference
from podwright.state.store import Store

log = get_logger(__name__)
# Shorter words of a to f and 0 to 9 are too likely to be meant as a name.
_MIN_PREFIX = 6
_HEX = re.compile(r"[0-9a-f]+\Z")


@dataclass(frozen=True)
class Names:
    """What an image is called when it arrives. A tag that another image had moves to it."""

    tags: Sequence[str] = ()
    digests: Sequence[str] = ()


class ImageStore:
    """Records by id; names by index. One daemon's images."""

    def __init__(self, store: Store, pinned: Sequence[str] = ()) -> None:
        self._store = store
        self._table = store.table("images", ImageRecord, durable=True)
        self._pinned = Pins(pinned)
        self._ids = PrefixIndex("image")
        self._by_name: dict[str, Digest] = {}
        self.generation = 0
        """Grows with every change."""
        for record in list(self._table.values()):
            self._index(record)

    def get(self, name_or_id: str) -> ImageRecord | None:
        """The image of that id, unique prefix of an id, or name in any of its forms; None when there is none.

        Raises InvalidArgument for a prefix that fits several.
        """
        record = self._table.get(name_or_id) or self._table.get(f"sha256:{name_or_id}")
        if record is None:
            record = self._by_reference(name_or_id) or self._by_prefix(name_or_id)
        return None if record is None else self._dressed(record)

    def _by_reference(self, name: str) -> ImageRecord | None:
        try:
            reference = parse_reference(name)
        except InvalidArgument:
            return None
        key = reference.with_digest(reference.digest) if reference.digest else reference.tagged
        image_id = self._by_name.get(key)
        return None if image_id is None else self._table.get(image_id)

    def _by_prefix(self, text: str) -> ImageRecord | None:
        digits = text.removeprefix("sha256:")
        if len(digits) < _MIN_PREFIX or not _HEX.match(digits):
            return None
        try:
            return self._table.get("sha256:" + self._ids.resolve(digits))
        except NotFound:
            return None

    def _dressed(self, record: ImageRecord) -> ImageRecord:
        return msgspec.structs.replace(record, pinned=True) if self._pinned.cover(record) else record

    def list(self) -> list[ImageRecord]:
        """All images."""
        return [self._dressed(record) for record in self._table.values()]

    def put(self, record: ImageRecord, names: Names) -> ImageRecord:
        """Store an image that is whole, under `names` and those it has already. Raises ResourceExhausted."""
        present = self._table.get(record.id)
        tags = set(names.tags) | set(present.repo_tags if present else ())
        digests = set(names.digests) | set(present.repo_digests if present else ())
        blobs = {**(present.blobs if present else {}), **record.blobs}
        whole = msgspec.structs.replace(
            record, repo_tags=sorted(tags), repo_digests=sorted(digests), blobs=blobs, pulled_at=time.time_ns()
        )
        if present is not None and present == msgspec.structs.replace(whole, pulled_at=present.pulled_at):
            return self._dressed(present)
        with self._store.transaction(durable=True):
            for tag in names.tags:
                self._take_tag(tag, record.id)
            self._table.put(record.id, whole)
        self._index(whole)
        return self._dressed(whole)

    def _take_tag(self, tag: str, new_owner: Digest) -> None:
        owner = self._table.get(self._by_name.get(tag, ""))
        if owner is not None and owner.id != new_owner:
            left = msgspec.structs.replace(owner, repo_tags=[t for t in owner.repo_tags if t != tag])
            self._table.put(owner.id, left)

    def forget_blobs(self, record: ImageRecord, digests: Collection[Digest]) -> None:
        """Some of the image's blobs are not there (any more); it runs without them."""
        left = {digest: size for digest, size in record.blobs.items() if digest not in digests}
        self._table.put(record.id, msgspec.structs.replace(record, blobs=left, pinned=False))
        self.generation += 1

    def remove(self, image_id: Digest) -> None:
        """Forget an image and all its names; an unknown one is success."""
        record = self._table.get(image_id)
        if record is None:
            return
        self._table.delete(image_id)
        self._ids.discard(image_id.partition(":")[2])
        for name in [name for name, owner in self._by_name.items() if owner == image_id]:
            del self._by_name[name]
        self.generation += 1

    def _index(self, record: ImageRecord) -> None:
        self._ids.add(record.id.partition(":")[2])
        for name in [*record.repo_tags, *record.repo_digests]:
            self._by_name[name] = record.id
        self.generation += 1

    def __len__(self) -> int:
        return len(self._table)
