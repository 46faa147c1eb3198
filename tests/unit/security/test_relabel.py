"""SELinux labels on trees. The attribute can be written by root on any kernel; here it is only kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from podwright.base.errors import InvalidArgument
from podwright.security.relabel import relabel

LABEL = "system_u:object_r:container_file_t:s0:c1,c2"


def label_of(path: Path) -> str:
    try:
        return os.getxattr(path, "security.selinux", follow_symlinks=False).decode().rstrip("\0")
    except OSError:
        return ""


@pytest.mark.parametrize(
    "path", ["/", "/etc", "/etc/kubernetes", "/usr/lib/x", "/home", "/var/lib", "/proc/sys", "/dev/shm"]
)
def test_the_systems_own_trees_keep_their_labels(path: str) -> None:
    with pytest.raises(InvalidArgument, match=f"{path} belongs to the system"):
        relabel(Path(path), LABEL)


@pytest.mark.root
def test_a_tree_and_nothing_else(tmp_path: Path) -> None:
    for name in ("volume/deep/er", "outside/inner"):
        (tmp_path / name).mkdir(parents=True)
    inside = [tmp_path / "volume" / name for name in ("", "deep", "deep/er", "deep/file", "link", "dangling")]
    inside[3].touch()
    inside[4].symlink_to("../outside")
    inside[5].symlink_to("nowhere")
    for _ in range(2):
        relabel(tmp_path / "volume", LABEL)
        assert [label_of(path) for path in inside] == [LABEL] * len(inside)
        assert [label_of(path) for path in (tmp_path, tmp_path / "outside", tmp_path / "outside/inner")] == [""] * 3
    relabel(tmp_path / "volume", LABEL + "9")
    assert {label_of(path) for path in inside} == {LABEL + "9"}


@pytest.mark.root
def test_a_file_and_what_has_gone(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    relabel(tmp_path / "file", LABEL)
    assert (label_of(tmp_path / "file"), label_of(tmp_path)) == (LABEL, "")
    relabel(tmp_path / "gone", LABEL)
