"""Which configuration counts, and what is said about those that don't."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from podwright.base.errors import InvalidArgument
from podwright.network.conflist import ConfDir, parse, version_of

LIST = {"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "bridge"}, {"type": "portmap"}]}


def write(directory: Path, name: str, content: object) -> Path:
    path = directory / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_list_is_read() -> None:
    conflist = parse(json.dumps({**LIST, "disableCheck": "true", "disableGC": True}).encode(), Path("/x/a.conflist"))
    assert (conflist.name, conflist.version, conflist.file) == ("net", "1.0.0", "/x/a.conflist")
    assert [plugin["type"] for plugin in conflist.plugins] == ["bridge", "portmap"]
    assert conflist.disable_check
    assert conflist.disable_gc


def test_a_single_plugin_is_a_list_of_one() -> None:
    single = {"cniVersion": "0.3.1", "name": "one", "type": "macvlan", "master": "eth1"}
    conflist = parse(json.dumps(single).encode(), Path("/x/a.conf"))
    assert conflist.plugins == (single,)
    assert conflist.version == "0.3.1"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not JSON"),
        ("[]", "object"),
        ({}, "name"),
        ({"name": 3, "plugins": []}, r"\$.name"),
        ({"name": "a b", "plugins": [{"type": "x"}]}, "network name 'a b'"),
        ({"name": "../a", "plugins": [{"type": "x"}]}, "network name"),
        ({"name": "n", "plugins": []}, "names no plugins"),
        ({"name": "n"}, "names no plugins"),
        ({"name": "n", "plugins": [{}]}, r"plugins\[0\]: `type` is missing"),
        ({"name": "n", "plugins": [{"type": "../../bin/sh"}]}, "without a path"),
        ({"name": "n", "plugins": [{"type": "a", "ipam": {"type": "/bin/sh"}}]}, "without a path"),
        ({"name": "n", "cniVersion": "2.0.0", "plugins": [{"type": "x"}]}, "newer than 1.1.0"),
        ({"name": "n", "cniVersion": "one", "plugins": [{"type": "x"}]}, "not of the form"),
    ],
)
def test_what_is_wrong_is_said(content: object, words: str) -> None:
    data = content if isinstance(content, str) else json.dumps(content)
    with pytest.raises(InvalidArgument, match=words):
        parse(data.encode(), Path("/nowhere/a.conflist"))


@pytest.mark.parametrize(
    ("single", "several", "chosen"),
    [
        ("1.0.0", [], "1.0.0"),
        ("", [], "0.1.0"),
        ("0.4.0", ["1.0.0", "1.1.0"], "1.1.0"),
        ("1.0.0", ["1.1.0", "1.2.0", "2.0.0"], "1.1.0"),
        ("", ["0.3.1", "0.4.0"], "0.4.0"),
    ],
)
def test_the_newest_version_both_know_is_chosen(single: str, several: list[str], chosen: str) -> None:
    content = {"name": "n", "cniVersion": single, "cniVersions": several, "plugins": [{"type": "x"}]}
    assert parse(json.dumps(content).encode(), Path("/nowhere/a.conflist")).version == chosen


def test_versions_compare_as_numbers() -> None:
    assert version_of("0.10.0") > version_of("0.4.0")
    assert version_of("") == (0, 1, 0)


def test_plugins_in_files_of_their_own_come_after_the_list(tmp_path: Path) -> None:
    write(tmp_path, "10.conflist", LIST)
    (tmp_path / "net").mkdir()
    write(tmp_path / "net", "20-b.conf", {"type": "bandwidth"})
    write(tmp_path / "net", "10-a.conf", {"type": "tuning"})
    confs = ConfDir(tmp_path)
    conflist = confs.current()
    assert conflist is not None
    assert [plugin["type"] for plugin in conflist.plugins] == ["bridge", "portmap", "tuning", "bandwidth"]
    (tmp_path / "net" / "10-a.conf").unlink()
    conflist = confs.current()
    assert conflist is not None
    assert len(conflist.plugins) == 3


def test_inlined_only_leaves_separate_files_alone(tmp_path: Path) -> None:
    write(tmp_path, "10.conflist", {**LIST, "loadOnlyInlinedPlugins": True})
    (tmp_path / "net").mkdir()
    write(tmp_path / "net", "10-a.conf", {"type": "tuning"})
    conflist = ConfDir(tmp_path).current()
    assert conflist is not None
    assert len(conflist.plugins) == 2


def test_the_first_valid_file_by_name_wins_and_bad_ones_are_named(tmp_path: Path) -> None:
    write(tmp_path, "05-broken.conflist", "{")
    write(tmp_path, "10-b.conflist", {**LIST, "name": "second"})
    write(tmp_path, "20-c.conflist", {**LIST, "name": "third"})
    write(tmp_path, "00-readme.txt", "not configuration")
    confs = ConfDir(tmp_path)
    conflist = confs.current()
    assert conflist is not None
    assert conflist.name == "second"
    assert len(confs.problems) == 1
    assert confs.problems[0].startswith(f"{tmp_path}/05-broken.conflist: ")
    assert not confs.empty


def test_no_directory_is_no_configuration(tmp_path: Path) -> None:
    confs = ConfDir(tmp_path / "missing")
    assert confs.current() is None
    assert confs.empty
    assert confs.problems == ()


def test_changes_count_at_the_next_look(tmp_path: Path) -> None:
    confs = ConfDir(tmp_path)
    assert confs.current() is None
    path = write(tmp_path, "10.conflist", {**LIST, "name": "one"})
    first = confs.current()
    assert first is not None
    assert first.name == "one"
    assert confs.current() is first
    write(tmp_path, "05.conf", {"name": "two", "type": "ptp"})
    second = confs.current()
    assert second is not None
    assert second.name == "two"
    (tmp_path / "05.conf").unlink()
    path.write_text("{")
    assert confs.current() is None
    assert not confs.empty


@pytest.mark.root
def test_what_others_may_write_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "10.conflist", LIST)
    path.chmod(0o646)
    confs = ConfDir(tmp_path)
    assert confs.current() is None
    assert f"users other than root may write {path}: chmod go-w it" in confs.problems[0]
    path.chmod(0o644)
    os.chown(path, 1234, 0)
    assert confs.current() is None
    assert "belongs to uid 1234" in confs.problems[0]
    os.chown(path, 0, 0)
    assert confs.current() is not None
    tmp_path.chmod(0o777)
    assert confs.current() is None
    assert "chmod go-w it" in confs.problems[0]


def test_a_fifo_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "10.conflist")
    confs = ConfDir(tmp_path)
    assert confs.current() is None
    assert "not a regular file" in confs.problems[0]
