"""One Docker Engine for all tests of a run: it takes seconds to start. Each test leaves it empty."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from podwright.docker.engine import Engine
from podwright.docker.image.service import DockerImages
from podwright.image.settings import Settings
from podwright.registry.base import Settings as RegistrySettings
from tests.support.dockerd import Dockerd, running_dockerd
from tests.support.registry import Registry, running_registry


@pytest.fixture(scope="session")
def shared_dockerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dockerd]:
    with running_dockerd(tmp_path_factory.getbasetemp() / "dockerd") as docker:
        yield docker


@pytest.fixture
def dockerd(shared_dockerd: Dockerd) -> Iterator[Dockerd]:
    """The engine, without containers and images before and after."""
    yield shared_dockerd
    shared_dockerd.remove_all()


@pytest.fixture
def own_dockerd(tmp_path: Path) -> Iterator[Dockerd]:
    """An engine for one test alone, which may stop, kill and start it."""
    with running_dockerd(tmp_path / "dockerd") as docker:
        yield docker


@pytest.fixture
async def engine(dockerd: Dockerd) -> AsyncIterator[Engine]:
    client = Engine(dockerd.socket)
    await client.connect()
    yield client
    await client.close()


@pytest.fixture
async def images(engine: Engine, tmp_path: Path) -> AsyncIterator[DockerImages]:
    """The engine's images, on a node without credentials of its own. A pull that brings nothing ends after 2 s."""
    registry = RegistrySettings(auth_files=(), progress_timeout_s=2)
    opened = DockerImages(engine, Settings(pinned=("*/pinned:*",)), registry, tmp_path / "spool")
    await opened.recover()
    yield opened
    assert list((tmp_path / "spool").iterdir()) == []
    await opened.close()


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture(scope="session")
def private_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """One that wants alice's password."""
    with running_registry(tmp_path_factory.mktemp("private"), password="hunter2") as server:
        yield server
