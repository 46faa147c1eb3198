"""`bench`: containers in a real containerd-shim-runc-v2."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from podwright.linux.orphans import Orphans
from tests.support import names
from tests.support.container_fixtures import rootfs as rootfs
from tests.support.shims import ShimBench


@pytest.fixture
async def bench(rootfs: Path) -> AsyncIterator[ShimBench]:
    """Afterwards none of its containers is there, and no shim. Orphans are collected, as in the daemon."""
    orphans = Orphans()
    made = ShimBench(names.TEMPORARY / names.unique("b"), rootfs)
    await made.start()
    try:
        yield made
    finally:
        await made.close()
        orphans.close()
        shutil.rmtree(made.directory)
