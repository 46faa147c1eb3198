"""An image's /etc/passwd and /etc/group, which decide who a container's process is.

Docker would resolve names itself, but merges groups by rules of its own; so it is told numbers. The files are read out
of a container of the image that never runs, once for an image.
"""

from __future__ import annotations

import io
import posixpath
import tarfile
from collections import OrderedDict
from dataclasses import dataclass

from podwright.base.errors import ResourceExhausted
from podwright.base.ids import random_suffix
from podwright.docker.engine import Engine
from podwright.docker.engine_containers import create, remove
from podwright.docker.errors import NoSuchObject
from podwright.docker.naming import labels_of

FILE_LIMIT_BYTES = 10 * 1024 * 1024
"""The most that is read of one of them (CVE-2026-47262)."""
_IMAGES, _LINKS, _HEADERS_BYTES = 256, 8, 64 * 1024


@dataclass(frozen=True)
class Accounts:
    """The files' content; None: the image has no such file."""

    passwd: bytes | None
    group: bytes | None


class AccountFiles:
    """Of images by id, as long as they were used of late."""

    def __init__(self, engine: Engine, instance: str) -> None:
        self._engine, self._instance = engine, instance
        self._known: OrderedDict[str, Accounts] = OrderedDict()

    async def read(self, image_id: str) -> Accounts:
        """Raises NotFound when the image is gone, and what the engine raises."""
        known = self._known.pop(image_id, None) or await self._read(image_id)
        self._known[image_id] = known
        while len(self._known) > _IMAGES:
            self._known.popitem(last=False)
        return known

    async def _read(self, image_id: str) -> Accounts:
        name = f"podwright_accounts_{random_suffix()}"
        labels = labels_of({}, instance=self._instance, record_id="", kind="accounts")
        body = {"Image": image_id, "Cmd": ["/"], "Labels": labels, "HostConfig": {"NetworkMode": "none"}}
        try:
            await create(self._engine, name, body)
            return Accounts(await self._file(name, "/etc/passwd"), await self._file(name, "/etc/group"))
        finally:
            await remove(self._engine, name)

    async def _file(self, name: str, path: str) -> bytes | None:
        """Links are followed inside the image; what is no plain file is no such file. Raises ResourceExhausted."""
        for _ in range(_LINKS):
            entry, content = await self._entry(name, path)
            if entry is None or not entry.issym():
                return content if entry is not None and entry.isfile() else None
            path = posixpath.normpath(posixpath.join("/", posixpath.dirname(path), entry.linkname))
        return None

    async def _entry(self, name: str, path: str) -> tuple[tarfile.TarInfo | None, bytes]:
        """What is at a path in the image, and its content. Docker follows links on the way there, not the last one."""
        archive = bytearray()
        try:
            async with self._engine.stream("GET", f"/containers/{name}/archive", {"path": path}) as chunks:
                async for chunk in chunks:
                    archive += chunk
                    if len(archive) > FILE_LIMIT_BYTES + _HEADERS_BYTES:
                        raise ResourceExhausted(f"{path} in the image has more than {FILE_LIMIT_BYTES} bytes")
        except NoSuchObject:
            return None, b""
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
            entry = tar.next()
            file = tar.extractfile(entry) if entry is not None and entry.isfile() else None
            return entry, b"" if file is None else file.read()
