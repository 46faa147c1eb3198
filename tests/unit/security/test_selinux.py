"""SELinux with a selinuxfs of the test's own."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from podwright.base.errors import InvalidArgument
from podwright.security import selinux
from podwright.security.selinux import Options


def test_available_where_a_policy_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selinux, "_ROOT", tmp_path)
    look = selinux.available.__wrapped__
    assert not look()
    (tmp_path / "enforce").write_text("1")
    assert look()


@pytest.mark.parametrize("level", ["s0", "s0:c1", "s0:c1,c2", "s0:c0.c1023", "s0-s0:c0.c1023", "s1:c1,c5.c9-s15:c1"])
def test_levels_that_there_are(level: str) -> None:
    selinux.check(Options(level=level), "f")


@pytest.mark.parametrize("level", ["s0,c4,c5", "c1", "s0:", "s0:c1,", "s0:c1\n", "s0-", "S0", 's0:c1",x="y'])
def test_levels_that_there_are_not(level: str) -> None:
    with pytest.raises(InvalidArgument, match=r"f\.level"):
        selinux.check(Options(level=level), "f")


def test_each_pod_has_categories_of_its_own() -> None:
    taken: set[str] = set()
    for _ in range(200):
        level = selinux.new_level(taken)
        selinux.check(Options(level=level), "f")
        low, high = (int(word[1:]) for word in level.removeprefix("s0:").split(","))
        assert 0 <= low < high < 1024
        assert level not in taken
        taken.add(level)


def test_the_policy_is_asked_for_every_process_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "context").touch()
    monkeypatch.setattr(selinux, "_ROOT", tmp_path)
    label = selinux.process_label(Options(type="mine_t"), pod_level="s0:c1,c2", privileged=False)
    assert (tmp_path / "context").read_bytes() == label.encode() + b"\0"

    def refuse(_fd: int, _data: bytes) -> int:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(InvalidArgument, match=r"mine_t.*policy"):
        selinux.process_label(Options(type="mine_t"), pod_level="", privileged=False)
