"""One Docker Engine for all tests of a run: it takes seconds to start. Each test leaves it empty."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.dockerd import Dockerd, running_dockerd


@pytest.fixture(scope="session")
def shared_dockerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dockerd]:
    with running_dockerd(tmp_path_factory.getbasetemp() / "dockerd") as docker:
        yield docker


@pytest.fixture
def dockerd(shared_dockerd: Dockerd) -> Iterator[Dockerd]:
    """The engine, without containers and images before and after."""
    yield shared_dockerd
    shared_dockerd.remove_all()
