"""A client, a content store, and registries that misbehave on demand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from podwright.content.store import ContentStore
from podwright.registry import retry
from podwright.registry.base import Settings
from podwright.registry.client import RegistryClient
from tests.support.fake_registry import MANIFEST, FakeRegistry, fake_registry


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_FIRST_PAUSE_S", 0.01)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(config_path=(tmp_path / "certs.d",), auth_files=(tmp_path / "auth.json",), retries=3)


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[RegistryClient]:
    client = RegistryClient(settings)
    yield client
    await client.close()


@pytest.fixture
def content(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "content")


@pytest.fixture
async def fake() -> AsyncIterator[FakeRegistry]:
    async with fake_registry() as fake:
        fake.add_manifest("team/app", "v1", MANIFEST)
        yield fake


@pytest.fixture
async def elsewhere() -> AsyncIterator[FakeRegistry]:
    """Another origin: the same machine under another name."""
    async with fake_registry("localhost") as fake:
        yield fake
