"""The image room's front door: everything the surfaces and the container room ask of images."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from podwright.base.errors import NotFound
from podwright.base.log import get_logger
from podwright.base.tasks import Tasks, in_thread
from podwright.content.store import ContentStore
from podwright.image.fsinfo import FsAccount, FsInfo
from podwright.image.gc import Collector
from podwright.image.install import Installer
from podwright.image.load import Loaded, Loader
from podwright.image.model import ImageRecord
from podwright.image.progress import ProgressBoard, PullProgress
from podwright.image.pull import Puller
from podwright.image.remove import InUse, remove_image
from podwright.image.save import Format, save_images
from podwright.image.settings import Settings
from podwright.image.store import ImageStore
from podwright.oci.platform import host_platform
from podwright.oci.reference import parse_reference
from podwright.registry.base import Credentials
from podwright.registry.client import RegistryClient
from podwright.snapshot.overlay import OverlaySnapshotter
from podwright.state.layout import Layout
from podwright.state.store import Store

log = get_logger(__name__)


class Images:
    """All images of a daemon. `recover` before the first call, `close` after the last."""

    def __init__(
        self,
        *,
        layout: Layout,
        store: Store,
        settings: Settings,
        registry: RegistryClient,
        content: ContentStore,
        snapshotter: OverlaySnapshotter,
        in_use: InUse,
    ) -> None:
        self._settings, self._content, self._snapshotter, self._in_use = settings, content, snapshotter, in_use
        self._tasks = Tasks("images")
        self._images = ImageStore(store, settings.pinned)
        self._collector = Collector(self._images, content, snapshotter)
        self._board = ProgressBoard()
        self._account = FsAccount(self._images, snapshotter, layout.snapshots)
        installer = Installer(
            self._images, content, snapshotter,
            max_unpacks=settings.max_concurrent_unpacks, discard_layers=settings.discard_unpacked_layers,
        )  # fmt: skip
        platform = host_platform()
        self._puller = Puller(
            registry, content, installer, self._collector, self._board, settings, platform, self._tasks
        )
        self._loader = Loader(content, installer, self._collector, snapshotter.staging, platform)

    async def pull(self, name: str, *, credentials: Credentials | None = None) -> ImageRecord:
        """Bring an image in, or just make sure that it is current. Cancelling all callers cancels the pull.

        Raises InvalidArgument, NotFound, Unauthenticated, ResourceExhausted, RegistryUnavailable, DigestMismatch.
        """
        return await self._puller.pull(name, credentials)

    def get(self, name_or_id: str) -> ImageRecord | None:
        """By id, unique prefix of one, or name in any form. Raises InvalidArgument for an ambiguous prefix."""
        return self._images.get(name_or_id)

    def list(self) -> Sequence[ImageRecord]:
        """All images, from memory."""
        return self._images.list()

    async def remove(self, name_or_id: str) -> None:
        """Remove an image and all its names; idempotent. Layers under containers stay until those are gone."""
        remove_image(self._images, self._collector, name_or_id, self._in_use)

    def fs_info(self) -> FsInfo:
        """What images take on disk; microseconds."""
        return self._account.info()

    async def watch(self, name: str) -> AsyncIterator[PullProgress]:
        """The progress of the pull of `name`, which may not have begun yet. Raises InvalidArgument."""
        async for progress in self._board.watch(str(parse_reference(name))):
            yield progress

    def pulling(self) -> Sequence[PullProgress]:
        """All pulls that run now."""
        return self._board.running()

    async def load(self, path: Path, *, names: Sequence[str] = ()) -> Sequence[Loaded]:
        """Images out of an OCI layout (directory or tar) or a docker-archive. Raises InvalidArgument, NotFound, …"""
        return await self._loader.load(path, names)

    async def save(self, names: Sequence[str], path: Path, form: Format = "oci") -> None:
        """Write images to a new archive: "oci" and "docker" are tars, "oci-dir" is a directory.

        Raises NotFound, AlreadyExists, FailedPrecondition when layers were not kept, ResourceExhausted.
        """
        records = []
        for name in names:
            record = self.get(name)
            if record is None:
                raise NotFound(f"image {name!r} is not here")
            records.append((name, record))
        await in_thread(save_images, self._content, records, path, form)

    async def recover(self) -> None:
        """After a start: an image exists exactly when all that it needs exists; whatever no image needs goes."""
        self._snapshotter.recover()
        for record in self._images.list():
            if not self._snapshotter.committed(record.diff_ids):
                log.warning(
                    "an image's layers are gone; it has to be pulled again", id=record.id, tags=record.repo_tags
                )
                self._images.remove(record.id)
            elif missing := [digest for digest in record.blobs if not self._content.has(digest)]:
                self._images.forget_blobs(record, missing)
        self._collector.sweep()
        self._tasks.start(self._sweep_now_and_then(), name="sweep")

    async def _sweep_now_and_then(self) -> None:
        """Layers whose last container went, and what failed pulls left."""
        while True:
            await asyncio.sleep(self._settings.sweep_interval_s)
            self._collector.sweep()

    async def close(self) -> None:
        """End pulls and the layer worker. Partial downloads stay, to be resumed."""
        await self._tasks.close()
        await self._snapshotter.close()
