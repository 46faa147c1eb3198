"""The fixtures of runtimes and monitors, for the handler nspawn."""

from __future__ import annotations

import pytest

from tests.support.container_fixtures import bench, rootfs

__all__ = ["bench", "handler", "rootfs"]


@pytest.fixture
def handler() -> str:
    return "nspawn"
