"""Log files: made with their parents, never through a link."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from podwright.base.errors import InvalidArgument
from podwright.monitor.log_file import create_log, is_open_in


def test_made_with_parents_and_mode(tmp_path: Path) -> None:
    log = tmp_path / "a/b/0.log"
    create_log(log)
    assert stat.S_IMODE(log.stat().st_mode) == 0o640
    log.write_text("kept")
    create_log(log)
    assert log.read_text() == "kept"


@pytest.mark.parametrize("path", ["a.log", "/a:b", "/a/../b", "/a\nb", "/a\0b"])
def test_bad_paths(path: str) -> None:
    with pytest.raises(InvalidArgument, match="log path"):
        create_log(Path(path))


def test_no_link_no_directory_no_fifo_without_reader(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "directory", "fifo"):
        with pytest.raises(InvalidArgument, match="can't be made"):
            create_log(tmp_path / name)
    assert not (tmp_path / "target").exists()


def test_whether_a_process_has_it_open(tmp_path: Path) -> None:
    log, other = tmp_path / "0.log", tmp_path / "other"
    with log.open("w"):
        other.touch()
        assert is_open_in(os.getpid(), log)
        assert not is_open_in(os.getpid(), other)
        log.rename(tmp_path / "renamed")
        assert not is_open_in(os.getpid(), log)
