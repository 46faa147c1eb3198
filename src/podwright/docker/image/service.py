"""The front door of the engine's images: what the surfaces and the containers ask of images."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from podwright.base.files import remove_tree
from podwright.base.tasks import Tasks, in_thread
from podwright.docker.engine import Engine
from podwright.docker.image.load import EngineLoader
from podwright.docker.image.pull import EnginePuller
from podwright.docker.image.remove import EngineRemover
from podwright.docker.image.save import EngineSaver
from podwright.docker.image.store import EngineImages
from podwright.docker.image.usage import EngineUsage
from podwright.image.fsinfo import FsInfo
from podwright.image.load import Loaded
from podwright.image.model import ImageRecord
from podwright.image.pins import Pins
from podwright.image.progress import ProgressBoard, PullProgress
from podwright.image.remove import InUse
from podwright.image.save import Format
from podwright.image.settings import Settings
from podwright.oci.reference import parse_reference
from podwright.registry.base import Credentials
from podwright.registry.base import Settings as RegistrySettings
from podwright.registry.credentials import NodeCredentials


class DockerImages:
    """Implements `backend.images.ImageBackend`. `recover` before the first call, `close` after the last.

    `spool`: a directory of ours for archives. `pinned`: what the kubelet must not collect beside what the setting
    says: the image that pods stand on. `mounted_by`: containers that have an image as a volume.
    """

    def __init__(
        self, engine: Engine, settings: Settings, registry: RegistrySettings, spool: Path, *,
        pinned: Sequence[str] = (), mounted_by: InUse = lambda _: (),
    ) -> None:  # fmt: skip
        self._spool = spool
        self._tasks = Tasks("docker images")
        self._board = ProgressBoard()
        self._images = EngineImages(engine, Pins([*settings.pinned, *pinned]))
        self._remover = EngineRemover(engine, self._images, mounted_by)
        self._usage = EngineUsage(engine, self._images)
        self._loader = EngineLoader(engine, self._images, spool)
        self._saver = EngineSaver(engine, self._images, spool)
        self._puller = EnginePuller(
            engine, self._images, NodeCredentials(registry.auth_files), self._board, self._tasks,
            stall_timeout_s=registry.progress_timeout_s, log_interval_s=settings.progress_log_interval_s,
        )  # fmt: skip

    async def pull(self, name: str, *, credentials: Credentials | None = None) -> ImageRecord:
        return await self._puller.pull(name, credentials)

    async def find(self, name_or_id: str) -> ImageRecord | None:
        return await self._images.find(name_or_id)

    async def all(self) -> Sequence[ImageRecord]:
        return await self._images.all()

    async def remove(self, name_or_id: str) -> None:
        await self._remover.remove(name_or_id)

    async def usage(self) -> FsInfo:
        return await self._usage.info()

    async def root(self) -> Path:
        """A path on the file system that the engine's images and containers take space of."""
        return await self._usage.root()

    async def watch(self, name: str) -> AsyncIterator[PullProgress]:
        async for progress in self._board.watch(str(parse_reference(name))):
            yield progress

    async def load(self, path: Path, *, names: Sequence[str] = ()) -> Sequence[Loaded]:
        return await self._loader.load(path, names)

    async def save(self, names: Sequence[str], path: Path, form: Format = "oci") -> None:
        await self._saver.save(names, path, form)

    async def recover(self) -> None:
        """After a start: what loads and saves have left goes. The engine remembers its images itself."""
        await in_thread(remove_tree, self._spool)
        self._spool.mkdir(mode=0o700)

    async def close(self) -> None:
        """End pulls."""
        await self._tasks.close()
