"""A snapshotter on a root of its own, and ways to feed it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from podwright.oci.digest import Digest
from podwright.snapshot.base import Layer
from podwright.snapshot.layer import BlobSource
from podwright.snapshot.overlay import OverlaySnapshotter
from podwright.state.layout import Layout
from podwright.state.store import Store
from tests.support import tars


@dataclass
class Bench:
    """A snapshotter and what lies under it."""

    layout: Layout
    store: Store
    snapshots: OverlaySnapshotter
    path: Path

    async def apply(self, tar: bytes, compression: str = "none") -> Layer:
        blob = tars.blob(tar, compression)
        return await self.apply_raw(blob.data, blob.diff_id)

    async def apply_raw(self, data: bytes, diff_id: str) -> Layer:
        fd = os.memfd_create("blob")
        try:
            os.write(fd, data)
            return await self.snapshots.apply(Digest(diff_id), BlobSource("under-test", fd))
        finally:
            os.close(fd)

    async def stack(self, *layers: bytes) -> list[Digest]:
        chain = [(await self.apply(tar)).diff_id for tar in layers]
        await self.snapshots.commit(chain)
        return chain

    def tree(self, layer: Layer) -> Path:
        record = self.snapshots._layers.get(layer.diff_id)
        assert record is not None
        return self.layout.snapshots / "layers" / record.name

    def restarted(self) -> OverlaySnapshotter:
        """A second snapshotter on the same disk and records, as after a crash."""
        return OverlaySnapshotter(self.layout, self.store)

    def left_over(self) -> list[str]:
        """What lies in staging now."""
        return os.listdir(self.layout.snapshots / "staging")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    layout = Layout(tmp_path / "root", tmp_path / "run")
    layout.create()
    store = Store(layout.database)
    made = Bench(layout, store, OverlaySnapshotter(layout, store), tmp_path)
    yield made
    await made.snapshots.close()
    store.close()


@pytest.fixture
def target(bench: Bench) -> Iterator[Path]:
    """A place to mount at; unmounted afterwards."""
    path = bench.path / "target"
    path.mkdir()
    yield path
    bench.snapshots.unmount(path)
