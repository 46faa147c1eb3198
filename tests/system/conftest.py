"""A daemon with the busybox image, once with each runtime."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon


@pytest.fixture(params=["crun", "runc"])
def daemon(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """After the test nothing may be left: not even of a pod that the test forgot to remove."""
    server = Daemon(tmp_path_factory.mktemp("d"), runtime=request.param)
    server.start()
    try:
        server.load_hello()
        yield server
    finally:
        server.remove_everything()
    assert server.leftovers() == []


@pytest.fixture
def crun_daemon(tmp_path: Path) -> Iterator[Daemon]:
    """For tests in which the runtime plays no part."""
    server = Daemon(tmp_path, runtime="crun")
    server.start()
    try:
        server.load_hello()
        yield server
    finally:
        server.remove_everything()
    assert server.leftovers() == []
