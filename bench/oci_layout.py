"""Writes OCI image layouts with plain Python: layers as tar streams, compressed, hashed on the way to the disk."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

import zstandard

Compression = Literal["gzip", "zstd"]
LayerWriter = Callable[[IO[bytes]], None]

_MEDIA_TYPE = "application/vnd.oci.image."


class _Hashed:
    """A file-like that digests and counts what passes through it."""

    def __init__(self, below: IO[bytes]) -> None:
        self._below, self._hash, self.size_bytes = below, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size_bytes += len(data)
        return self._below.write(data)

    def flush(self) -> None:
        self._below.flush()

    @property
    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()


@dataclass(frozen=True)
class Layer:
    """A stored layer: the descriptor of its blob and the digest of what is inside."""

    media_type: str
    digest: str
    size_bytes: int
    diff_id: str


class Layout:
    """One image in one OCI layout directory (image-layout.md of the OCI image specification)."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._blobs = directory / "blobs/sha256"
        self._blobs.mkdir(parents=True, exist_ok=True)

    def write(self, layers: Iterable[LayerWriter], config: dict[str, Any], compression: Compression) -> None:
        """Store the layers, the config and the manifest."""
        stored = [self._layer(writer, compression) for writer in layers]
        image_config = self._json(
            {
                "architecture": _architecture(),
                "os": "linux",
                "config": config,
                "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in stored]},
            }
        )
        manifest = self._json(
            {
                "schemaVersion": 2,
                "mediaType": _MEDIA_TYPE + "manifest.v1+json",
                "config": {"mediaType": _MEDIA_TYPE + "config.v1+json", **image_config},
                "layers": [{"mediaType": x.media_type, "digest": x.digest, "size": x.size_bytes} for x in stored],
            }
        )
        entry = {"mediaType": _MEDIA_TYPE + "manifest.v1+json", **manifest}
        (self._directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        # The index last: a layout that has one is whole.
        (self._directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))

    def _layer(self, writer: LayerWriter, compression: Compression) -> Layer:
        temporary = self._blobs / "writing"
        with temporary.open("wb") as file:
            blob = _Hashed(file)
            with _compressor(blob, compression) as compressed:
                content = _Hashed(compressed)
                writer(cast("IO[bytes]", content))
        temporary.rename(self._blobs / blob.digest.partition(":")[2])
        media_type = f"{_MEDIA_TYPE}layer.v1.tar+{compression}"
        return Layer(media_type, blob.digest, blob.size_bytes, content.digest)

    def _json(self, document: dict[str, Any]) -> dict[str, Any]:
        data = json.dumps(document).encode()
        digest = hashlib.sha256(data).hexdigest()
        (self._blobs / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}


def _compressor(below: _Hashed, compression: Compression) -> IO[bytes]:
    target = cast("IO[bytes]", below)
    if compression == "gzip":
        # Level 6 and no name or time: what builders ship, and the same bytes each time.
        return cast("IO[bytes]", gzip.GzipFile("", "wb", 6, target, mtime=0))
    return cast("IO[bytes]", zstandard.ZstdCompressor(level=3).stream_writer(target, closefd=False))


def _architecture() -> str:
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
