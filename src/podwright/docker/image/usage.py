"""What images take of the engine's disk: from the sizes that it knows of each layer, never by walking one.

The engine's own sum (GET /system/df) walks all volumes and containers before 25.0. The sizes of an image's layers are
in its history, which can't change: so each image is asked for once.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from podwright.base.log import get_logger
from podwright.base.tasks import gather_all
from podwright.docker.engine import Engine
from podwright.docker.errors import EngineFailed, NoSuchObject
from podwright.docker.image.store import EngineImages
from podwright.image.fsinfo import FsInfo
from podwright.image.model import ImageRecord
from podwright.snapshot.chain import chain_id

log = get_logger(__name__)
_MAX_QUESTIONS = 8
Layers = Mapping[object, int]
"""Sizes in bytes, by what tells a layer from others: two images that share one have the same key for it."""


class Step(msgspec.Struct, rename="pascal"):
    """One of GET /images/ID/history, the newest first. Steps that changed no file have no size."""

    created: int = 0
    created_by: str = ""
    size: int = 0


class _Info(msgspec.Struct):
    docker_root_dir: str = msgspec.field(default="", name="DockerRootDir")


class EngineUsage:
    """The sum, over all images, of layers that are there once however many images share them."""

    def __init__(self, engine: Engine, images: EngineImages) -> None:
        self._engine, self._images = engine, images
        self._layers: Mapping[str, Layers] = {}
        self._root = Path()

    async def info(self) -> FsInfo:
        records, known = await self._images.all(), self._layers
        unknown = [record for record in records if record.id not in known]
        found = await gather_all(*map(self._ask, unknown), name="image histories", limit=_MAX_QUESTIONS)
        known = {**known, **{record.id: layers for record, layers in zip(unknown, found, strict=True) if layers}}
        self._layers = {record.id: known[record.id] for record in records if record.id in known}
        return FsInfo(time.time_ns(), await self.root(), _sum(self._layers.values()), None)

    async def root(self) -> Path:
        """Where the engine keeps images and containers; asked once, as it can't change under them."""
        if not self._root.name:
            self._root = Path((await self._engine.get("/info", _Info)).docker_root_dir)
        return self._root

    async def _ask(self, record: ImageRecord) -> Layers:
        try:
            return layers_of(record, await self._engine.get(f"/images/{record.id}/history", list[Step]))
        except (NoSuchObject, EngineFailed) as error:  # removed meanwhile, or damaged
            log.debug("the layers of an image are not known", id=record.id, error=str(error))
            return {}


def layers_of(record: ImageRecord, history: Iterable[Step]) -> Layers:
    """The sizes of an image's layers. A layer goes by its chain id; where an empty one hides which is which, by the
    steps up to it."""
    steps = [step for step in reversed(list(history)) if step.size > 0]
    if len(steps) == len(record.diff_ids):
        return {chain_id(record.diff_ids[: at + 1]): step.size for at, step in enumerate(steps)}
    keys = [(step.created, step.created_by, step.size) for step in steps]
    return {tuple(keys[: at + 1]): step.size for at, step in enumerate(steps)}


def _sum(images: Iterable[Layers]) -> int:
    every: dict[object, int] = {}
    for layers in images:
        every.update(layers)
    return sum(every.values())
