from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.network.fakes import FakePlugins


@pytest.fixture
def plugins(tmp_path: Path) -> FakePlugins:
    made = FakePlugins(tmp_path / "bin", tmp_path / "conf", tmp_path / "log")
    for directory in (made.bin, made.conf, made.log):
        directory.mkdir()
    return made
