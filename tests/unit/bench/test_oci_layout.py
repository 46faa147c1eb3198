"""The bench's images are what they say: digests, sizes and diff ids agree with the bytes on disk."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import IO, Any

import pytest
import zstandard
from bench.oci_layout import Compression, Layout

CONTENT = b"what a tar would hold" * 1000


def _write(output: IO[bytes]) -> None:
    output.write(CONTENT)


def _blob(layout: Path, descriptor: dict[str, Any]) -> bytes:
    data: bytes = (layout / "blobs" / descriptor["digest"].replace(":", "/")).read_bytes()
    assert len(data) == descriptor["size"]
    assert "sha256:" + hashlib.sha256(data).hexdigest() == descriptor["digest"]
    return data


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_layout_is_consistent(tmp_path: Path, compression: Compression) -> None:
    Layout(tmp_path).write([_write], {"Entrypoint": ["/bin/true"]}, compression)
    index = json.loads((tmp_path / "index.json").read_text())
    manifest = json.loads(_blob(tmp_path, index["manifests"][0]))
    config = json.loads(_blob(tmp_path, manifest["config"]))
    layer = _blob(tmp_path, manifest["layers"][0])
    plain = (
        gzip.decompress(layer)
        if compression == "gzip"
        else zstandard.ZstdDecompressor().decompressobj().decompress(layer)
    )
    assert plain == CONTENT
    assert manifest["layers"][0]["mediaType"].endswith(f"tar+{compression}")
    assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(CONTENT).hexdigest()]
    assert config["config"] == {"Entrypoint": ["/bin/true"]}
