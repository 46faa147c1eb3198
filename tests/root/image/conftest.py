"""An image room on a root of its own, and a real registry to pull from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from podwright.content.store import ContentStore
from podwright.image.service import Images
from podwright.image.settings import Settings
from podwright.oci.digest import Digest
from podwright.registry.base import Settings as RegistrySettings
from podwright.registry.client import RegistryClient
from podwright.snapshot.layer import Limits
from podwright.snapshot.overlay import OverlaySnapshotter
from podwright.state.layout import Layout
from podwright.state.store import Store
from tests.support.registry import Registry, running_registry

REGISTRY_SETTINGS = RegistrySettings(
    config_path=(), auth_files=(), connect_timeout_s=2, progress_timeout_s=5, retries=1
)


@dataclass
class Room:
    """Everything that one daemon has for images."""

    path: Path
    settings: Settings = field(default_factory=Settings)
    containers: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.layout = Layout(self.path / "root", self.path / "run")
        self.open()

    def open(self) -> None:
        self.layout.create()
        self.store = Store(self.layout.database)
        self.content = ContentStore(self.layout.content)
        limits = Limits(self.settings.max_layer_bytes, self.settings.max_layer_entries)
        self.snapshots = OverlaySnapshotter(self.layout, self.store, limits)
        self.registry = RegistryClient(REGISTRY_SETTINGS)
        self.images = Images(
            layout=self.layout, store=self.store, settings=self.settings, registry=self.registry,
            content=self.content, snapshotter=self.snapshots, in_use=lambda image: self.containers.get(image, []),
        )  # fmt: skip

    async def close(self) -> None:
        await self.images.close()
        await self.registry.close()
        self.store.close()

    async def restart(self, **changes: object) -> None:
        """As a new daemon on the same root."""
        await self.close()
        self.settings = replace(self.settings, **changes)  # type: ignore[arg-type]
        self.open()
        await self.images.recover()

    def layers(self) -> int:
        """Directories of layers and bridges, without the empty one."""
        return len(list((self.layout.snapshots / "layers").iterdir())) - 1

    def blobs(self) -> set[Digest]:
        return set(self.content.digests())

    def half_made(self) -> list[Path]:
        """What lies where nothing may stay."""
        return list((self.layout.snapshots / "staging").iterdir())


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = Room(tmp_path)
    await made.images.recover()
    yield made
    assert made.half_made() == []
    await made.close()


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="session")
def locked_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """One that wants alice's password."""
    with running_registry(tmp_path_factory.mktemp("locked"), password="secret") as running:
        yield running
