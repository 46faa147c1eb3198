from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from podwright.linux.paths import make_directories_in_root, open_in_root, resolve_in_root


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


@pytest.mark.parametrize(
    ("path", "real"),
    [
        ("/", "/"),
        ("/a/./b//", "/a/b"),
        ("new/x", "/new/x"),
        ("/absolute/x", "/a/b/x"),
        ("/chain/y", "/not/there/deeper/y"),
        ("/up/x", "/outside/x"),
        ("/a/back/absolute", "/a/b"),
        ("/fd/x", "/proc/self/fd/7/x"),
    ],
)
def test_where_a_path_leads(tree: Path, path: str, real: str) -> None:
    before = sorted(tree.rglob("*"))
    assert resolve_in_root(tree, path) == real
    assert sorted(tree.rglob("*")) == before, "nothing is made"


def test_links_below_another_tree_are_not_followed(tree: Path) -> None:
    """Where something will be mounted, what is there now does not count."""
    (tree / "a/b/link").symlink_to("/host")
    (tree / "to-a").symlink_to("a/b/../b")
    assert resolve_in_root(tree, "/to-a/link/x", stops={"/a/b"}) == "/a/b/link/x"
    assert resolve_in_root(tree, "/a/b/link/x", stops={"/a"}) == "/a/b/link/x"
    assert resolve_in_root(tree, "/to-a/../b/link", stops={"/a/b"}) == "/a/b/link"


def test_where_a_path_can_not_lead(tree: Path) -> None:
    for path, number in (("/loop", errno.ELOOP), ("/file/x", errno.ENOTDIR)):
        with pytest.raises(OSError, match=os.strerror(number)):
            resolve_in_root(tree, path)


def test_an_open_that_follows_nothing(tree: Path) -> None:
    os.close(open_in_root(tree, "/a/b", os.O_PATH, follow=False))
    for path in ("/absolute", "/relative/x", "/loop"):
        with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
            open_in_root(tree, path, os.O_PATH, follow=False)


def test_a_link_to_the_host_stays_inside(tree: Path) -> None:
    assert make_directories_in_root(tree, "/host/x") == f"{tree.parent}/outside/x"
    assert os.listdir(tree.parent / "outside") == []


@pytest.mark.parametrize(
    ("path", "number"), [("/loop", errno.ELOOP), ("/file", errno.ENOTDIR), ("/file/x", errno.ENOTDIR)]
)
def test_what_is_no_directory(tree: Path, path: str, number: int) -> None:
    with pytest.raises(OSError, match=os.strerror(number)):
        make_directories_in_root(tree, path)
