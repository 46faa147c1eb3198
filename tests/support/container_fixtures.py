"""Fixtures for tests of runtimes and monitors: `bench` once for crun and once for runc."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from podwright.linux.orphans import Orphans
from tests.support import names
from tests.support.containers import Bench
from tests.support.rootfs import busybox_rootfs


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One root file system for all; tests that write in it take a directory of their own below /tmp."""
    return busybox_rootfs(tmp_path_factory.mktemp("rootfs") / "rootfs")


@pytest.fixture(params=["crun", "runc"])
def handler(request: pytest.FixtureRequest) -> str:
    """The runtime's name."""
    name = str(request.param)
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    return name


@pytest.fixture
async def bench(tmp_path: Path, rootfs: Path, handler: str) -> AsyncIterator[Bench]:
    """A runtime and a monitor, and afterwards none of their containers. Orphans are collected, as in the daemon."""
    orphans = Orphans()
    made = Bench(names.TEMPORARY / names.unique("b"), rootfs, handler)
    try:
        yield made
    finally:
        await made.close()
        orphans.close()
        shutil.rmtree(made.directory)
