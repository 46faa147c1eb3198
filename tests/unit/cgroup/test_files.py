"""The small files: what is absent, unlimited, or longer than a page."""

from __future__ import annotations

from pathlib import Path

import pytest

from podwright.cgroup import files


def test_absent_files_and_directories_read_as_nothing(tmp_path: Path) -> None:
    assert files.read(f"{tmp_path}/missing") is None
    assert files.read(f"{tmp_path}/missing/deeper") is None
    assert files.read_number(f"{tmp_path}/missing") is None
    assert files.read_table(f"{tmp_path}/missing") is None
    assert files.read_limit(f"{tmp_path}/missing") == 0
    assert files.read_pids(f"{tmp_path}/missing") == []
    assert files.below(f"{tmp_path}/missing") == []
    with pytest.raises(FileNotFoundError):
        files.write(f"{tmp_path}/missing", "1")


@pytest.mark.parametrize(
    ("text", "limit"), [("max\n", 0), ("9223372036854771712\n", 0), ("-1\n", 0), ("1048576\n", 1048576)]
)
def test_limits(tmp_path: Path, text: str, limit: int) -> None:
    (tmp_path / "limit").write_text(text)
    assert files.read_limit(f"{tmp_path}/limit") == limit


def test_long_lists_are_read_whole(tmp_path: Path) -> None:
    (tmp_path / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in range(30000)))
    assert files.read_pids(str(tmp_path)) == list(range(1, 30000))


def test_directories_below_come_after_their_parents(tmp_path: Path) -> None:
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "a" / "d").mkdir()
    (tmp_path / "a" / "file").touch()
    found = files.below(f"{tmp_path}/a")
    assert found[0] == f"{tmp_path}/a"
    assert sorted(found[1:]) == [f"{tmp_path}/a/b", f"{tmp_path}/a/b/c", f"{tmp_path}/a/d"]
    assert found.index(f"{tmp_path}/a/b") < found.index(f"{tmp_path}/a/b/c")
