from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from podwright.linux.paths import make_directories_in_root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A root with links in it, beside a directory that nobody may reach from inside."""
    root = tmp_path / "root"
    (root / "a/b").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    links = {
        "absolute": "/a/b", "relative": "a/b", "dangling": "/not/there", "up": "../../../outside", "loop": "loop",
        "a/back": "..", "chain": "dangling/deeper", "host": str(tmp_path / "outside"), "fd": "/proc/self/fd/7",
    }  # fmt: skip
    for name, target in links.items():
        (root / name).symlink_to(target)
    (root / "file").touch()
    return root


@pytest.mark.parametrize(
    ("path", "real"),
    [
        ("/", "/"),
        ("", "/"),
        ("/a/./b//", "/a/b"),
        ("new/x", "/new/x"),
        ("/absolute/x", "/a/b/x"),
        ("/relative/x", "/a/b/x"),
        ("/dangling/x", "/not/there/x"),
        ("/chain", "/not/there/deeper"),
        ("/up/x", "/outside/x"),
        ("/../../x", "/x"),
        ("/a/back/c", "/c"),
        ("/absolute/../x", "/a/x"),
        ("/fd/x", "/proc/self/fd/7/x"),
    ],
)
def test_directories_are_made_inside(tree: Path, path: str, real: str) -> None:
    assert make_directories_in_root(tree, path) == real
    assert (tree / real.lstrip("/")).is_dir()
    assert os.listdir(tree.parent / "outside") == []


def test_a_link_to_the_host_stays_inside(tree: Path) -> None:
    assert make_directories_in_root(tree, "/host/x") == f"{tree.parent}/outside/x"
    assert os.listdir(tree.parent / "outside") == []


@pytest.mark.parametrize(
    ("path", "number"), [("/loop", errno.ELOOP), ("/file", errno.ENOTDIR), ("/file/x", errno.ENOTDIR)]
)
def test_what_is_no_directory(tree: Path, path: str, number: int) -> None:
    with pytest.raises(OSError, match=os.strerror(number)):
        make_directories_in_root(tree, path)
