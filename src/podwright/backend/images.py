"""What the image surfaces ask of images, whoever keeps them; and the images that Podwright keeps itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol

from podwright.image.fsinfo import FsInfo
from podwright.image.load import Loaded
from podwright.image.model import ImageRecord
from podwright.image.progress import PullProgress
from podwright.image.save import Format
from podwright.image.service import Images
from podwright.registry.base import Credentials


class ImageBackend(Protocol):
    """All images of a node."""

    async def pull(self, name: str, *, credentials: Credentials | None = None) -> ImageRecord:
        """Bring an image in, or just make sure that it is current. Cancelling all callers cancels the pull.

        The registry is asked with these very credentials, whatever is here already. Raises InvalidArgument, NotFound,
        Unauthenticated, ResourceExhausted, RegistryUnavailable, DigestMismatch.
        """
        ...

    async def find(self, name_or_id: str) -> ImageRecord | None:
        """By id, unique prefix of one, or name in any form. Raises InvalidArgument for an ambiguous prefix."""
        ...

    async def all(self) -> Sequence[ImageRecord]: ...

    async def remove(self, name_or_id: str) -> None:
        """Remove an image and all its names; idempotent. Raises FailedPrecondition where its use forbids that."""
        ...

    async def usage(self) -> FsInfo:
        """What images take on disk, without walking it."""
        ...

    def watch(self, name: str) -> AsyncIterator[PullProgress]:
        """The progress of the pull of `name`, which may not have begun yet. Raises InvalidArgument."""
        ...

    async def load(self, path: Path, *, names: Sequence[str] = ()) -> Sequence[Loaded]:
        """Images out of an OCI layout (directory or tar) or a docker-archive. Raises InvalidArgument, NotFound, …"""
        ...

    async def save(self, names: Sequence[str], path: Path, form: Format = "oci") -> None:
        """Write images to a new archive. Raises NotFound, AlreadyExists, FailedPrecondition, ResourceExhausted."""
        ...


class NativeImages:
    """The images of the image room; implements `ImageBackend`. Answers come from memory."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self.pull, self.remove, self.watch = images.pull, images.remove, images.watch
        self.load, self.save = images.load, images.save

    async def find(self, name_or_id: str) -> ImageRecord | None:
        return self._images.get(name_or_id)

    async def all(self) -> Sequence[ImageRecord]:
        return self._images.list()

    async def usage(self) -> FsInfo:
        return self._images.fs_info()
