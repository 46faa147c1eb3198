"""Which mount holds a path, asked of the kernel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from podwright.linux import mounts

pytestmark = pytest.mark.root


@pytest.fixture
def outer(tmp_path: Path) -> Iterator[Path]:
    """A mount in which another one is mounted."""
    outer = tmp_path / "outer"
    outer.mkdir()
    mounts.tmpfs(outer, size_bytes=65536)
    (outer / "inner").mkdir()
    mounts.tmpfs(outer / "inner", size_bytes=65536)
    yield outer
    mounts.unmount_tree(outer)


def test_the_mount_that_holds_a_path(outer: Path) -> None:
    (outer / "file").touch()
    held = {path: mounts.mount_of(path) for path in (outer, outer / "file", outer / "inner/not/there", outer / "no")}
    assert [m.target for m in held.values() if m] == [
        str(outer), str(outer), str(outer / "inner"), str(outer)
    ]  # fmt: skip


def test_a_mount_that_another_one_hides_holds_nothing(outer: Path) -> None:
    mounts.tmpfs(outer, size_bytes=65536)
    try:
        (outer / "inner").mkdir()
        table = mounts.MountTable()
        found = table.holding(outer / "inner")
        assert found is not None
        assert found.target == str(outer)
        assert table.holding(outer) == found
    finally:
        mounts.unmount(outer)
