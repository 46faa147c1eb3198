"""What images take of their file system: from records, never by walking a disk, so the kubelet may ask at any time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from podwright.image.store import ImageStore
from podwright.snapshot.base import LayerStore


@dataclass(frozen=True)
class FsInfo:
    """One file system. `used_bytes` counts blobs and unpacked layers, each once however many images share it.

    `inodes_used` is None where whoever keeps the images doesn't tell.
    """

    timestamp_ns: int
    mountpoint: Path
    used_bytes: int
    inodes_used: int | None


class FsAccount:
    """The sum, kept until an image comes or goes."""

    def __init__(self, images: ImageStore, layers: LayerStore, mountpoint: Path) -> None:
        self._images, self._layers, self._mountpoint = images, layers, mountpoint
        self._seen = -1
        self._blobs = (0, 0)

    def info(self) -> FsInfo:
        if self._seen != self._images.generation:
            sizes = {digest: size for record in self._images.list() for digest, size in record.blobs.items()}
            self._blobs = (sum(sizes.values()), len(sizes))
            self._seen = self._images.generation
        layers = self._layers.usage_of_layers()
        blob_bytes, blobs = self._blobs
        return FsInfo(time.time_ns(), self._mountpoint, blob_bytes + layers.bytes, blobs + layers.inodes)
