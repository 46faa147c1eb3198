"""RemoveImage: all names and the image at once, disk space soon after. Idempotent."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from podwright.base.log import get_logger
from podwright.image.gc import Collector
from podwright.image.store import ImageStore

log = get_logger(__name__)

InUse = Callable[[str], Sequence[str]]
"""Ids of the containers that were made from an image id, or mount it."""


def remove_image(images: ImageStore, collector: Collector, name_or_id: str, in_use: InUse) -> None:
    """Remove the image that `name_or_id` means, with all its tags; an unknown one is success. What broken-off pulls
    have left goes as well: who removes wants space.

    Layers that containers stand on stay until those are gone: the kubelet never asks for the removal of an image in
    use, and a person who does so means the name.
    """
    record = images.get(name_or_id)
    if record is not None:
        images.remove(record.id)
        users = list(in_use(record.id))
        log.info("image removed", image=name_or_id, id=record.id, tags=record.repo_tags, containers=users)
    collector.release_failed()
    collector.sweep()
