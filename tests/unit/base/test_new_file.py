"""Files that are whole or not there, with and without O_TMPFILE."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from podwright.base.new_file import NewFile


@pytest.fixture(params=[True, False], ids=["unnamed", "hidden"])
def directory(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    if not request.param:
        real = os.open

        def without(path: Any, flags: int, *rest: Any, **more: Any) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(errno.EOPNOTSUPP, "no")
            return real(path, flags, *rest, **more)

        monkeypatch.setattr(os, "open", without)
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def test_published(directory: int, tmp_path: Path) -> None:
    with NewFile(directory, "file") as new:
        os.write(new.fd, b"text")
        new.sync()
        assert not (tmp_path / "file").exists()
        new.publish()
    assert (tmp_path / "file").read_bytes() == b"text"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["file"]


def test_not_published(directory: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with NewFile(directory, "file") as new:
        os.write(new.fd, b"text")
    assert (tmp_path / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_symlink_is_replaced(directory: int, tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "file").symlink_to("target")
    with NewFile(directory, "file") as new:
        new.publish()
    assert (tmp_path / "target").read_text() == "old"
    assert not (tmp_path / "file").is_symlink()


def test_directory_is_not_replaced(directory: int, tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with NewFile(directory, "file") as new, pytest.raises(IsADirectoryError):
        new.publish()
    assert os.listdir(tmp_path) == ["file"]
