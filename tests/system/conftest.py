"""A daemon with the busybox image, once with each runtime."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, serving


@pytest.fixture(params=["crun", "runc"])
def daemon(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with serving(Daemon(tmp_path_factory.mktemp("d"), runtime=request.param)) as server:
        yield server


@pytest.fixture
def crun_daemon(tmp_path: Path) -> Iterator[Daemon]:
    """For tests in which the runtime plays no part."""
    with serving(Daemon(tmp_path, runtime="crun")) as server:
        yield server


@pytest.fixture
def reaped() -> Iterator[None]:
    """Orphans of an earlier daemon are reaped, as init does; they come to this process, for it is their subreaper."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGCHLD, before)
