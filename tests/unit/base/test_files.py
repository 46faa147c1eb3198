from __future__ import annotations

import os
from pathlib import Path

import pytest

from podwright.base.errors import ResourceExhausted
from podwright.base.files import disk_error, remove_tree, write_atomic, write_plain


def test_write_atomic_replaces_and_leaves_no_temporary(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_atomic(target, b"one")
    write_atomic(target, b"two", mode=0o640)
    assert target.read_bytes() == b"two"
    assert target.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["file"]


def test_write_plain_does_not_follow_a_symlink(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "link").symlink_to(victim)
    with pytest.raises(OSError, match="link"):
        write_plain(tmp_path / "link", b"x")
    assert victim.read_text() == "precious"


def test_a_full_disk_is_resource_exhausted() -> None:
    error = disk_error(OSError(28, "No space left on device"), "/data")
    assert isinstance(error, ResourceExhausted)
    assert "/data" in str(error)
    other = OSError(13, "Permission denied")
    assert disk_error(other, "/data") is other


def test_remove_tree_of_nothing_is_success(tmp_path: Path) -> None:
    remove_tree(tmp_path / "absent")
