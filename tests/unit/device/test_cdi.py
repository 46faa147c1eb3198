"""Directories of CDI specifications: which counts, what changes, what is not believed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from podwright.base.errors import InvalidArgument, NotFound
from podwright.device.cdi import CdiDevices, annotated_devices
from tests.unit.device.specs import encoded, spec, write


@pytest.fixture
def directories(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "etc", tmp_path / "run"


@pytest.fixture
def cdi(directories: tuple[Path, Path]) -> CdiDevices:
    return CdiDevices(directories)


def variables(cdi: CdiDevices, *names: str) -> list[str]:
    return [variable for edits in cdi.edits(names) for variable in edits.env]


def test_no_directory_no_devices(cdi: CdiDevices) -> None:
    assert (cdi.known().devices, cdi.known().problems) == ({}, {})
    with pytest.raises(NotFound, match=r"no CDI device v/c=a in .*etc, .*run; there are: none"):
        cdi.edits(["v/c=a"])


def test_edits_of_a_specification_come_once_and_first(cdi: CdiDevices, directories: tuple[Path, Path]) -> None:
    write(directories[0] / "1.json", spec("a", "b", containerEdits={"env": ["COMMON=1"]}))
    write(directories[1] / "2.yaml", spec("c", kind="other.com/dev"))
    assert variables(cdi, "vendor.com/dev=b", "other.com/dev=c", "vendor.com/dev=a", "vendor.com/dev=b") == [
        "COMMON=1", "DEVICE_b=1", "DEVICE_c=1", "DEVICE_a=1",
    ]  # fmt: skip


def test_a_later_directory_wins(cdi: CdiDevices, directories: tuple[Path, Path]) -> None:
    write(directories[0] / "x.json", spec("a", "b", containerEdits={"env": ["FROM=etc"]}))
    write(directories[1] / "x.json", spec("a", containerEdits={"env": ["FROM=run"]}))
    assert variables(cdi, "vendor.com/dev=a")[0] == "FROM=run"
    assert variables(cdi, "vendor.com/dev=b")[0] == "FROM=etc"
    assert cdi.known().problems == {}


def test_namesakes_in_one_directory_are_nobodys(cdi: CdiDevices, directories: tuple[Path, Path]) -> None:
    first, second = (write(directories[0] / name, spec("a", name[:1])) for name in ("x.json", "y.yaml"))
    with pytest.raises(NotFound, match=rf"vendor.com/dev=a: is in {first} and in {second}"):
        cdi.edits(["vendor.com/dev=a"])
    assert variables(cdi, "vendor.com/dev=x", "vendor.com/dev=y") == ["DEVICE_x=1", "DEVICE_y=1"]
    write(directories[1] / "z.json", spec("a"))
    assert variables(cdi, "vendor.com/dev=a") == ["DEVICE_a=1"], "a later directory settles it"


def test_changes_are_seen(cdi: CdiDevices, directories: tuple[Path, Path]) -> None:
    path = write(directories[0] / "x.json", spec("a"))
    assert list(cdi.known().devices) == ["vendor.com/dev=a"]
    assert cdi.known().devices == cdi.known().devices
    write(path, spec("b"))
    assert list(cdi.known().devices) == ["vendor.com/dev=b"]
    replaced = write(directories[0] / "new.tmp", spec("c"))
    replaced.rename(path)
    assert list(cdi.known().devices) == ["vendor.com/dev=c"]
    path.unlink()
    assert cdi.known().devices == {}


def test_a_file_is_read_once_until_it_changes(
    cdi: CdiDevices, directories: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    real = Path.read_bytes

    def reading(path: Path) -> bytes:
        read.append(path)
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", reading)
    good, bad = write(directories[0] / "x.json", spec("a")), directories[0] / "bad.json"
    bad.write_text("{")
    for _ in range(3):
        assert list(cdi.known().devices) == ["vendor.com/dev=a"]
    assert sorted(read) == [bad, good]


def test_a_bad_file_is_named_and_the_others_count(cdi: CdiDevices, directories: tuple[Path, Path]) -> None:
    write(directories[0] / "good.json", spec("a"))
    bad = directories[0] / "bad.json"
    bad.write_text('{"cdiVersion": "1.0.0", "kind": "vendor.com/dev"}')
    assert variables(cdi, "vendor.com/dev=a") == ["DEVICE_a=1"]
    with pytest.raises(NotFound, match=rf"there are: vendor.com/dev=a; {bad}: .*devices"):
        cdi.edits(["vendor.com/dev=b"])
    assert list(cdi.known().problems) == [str(bad)]
    write(bad, spec("b"))
    assert cdi.known().problems == {}


def test_what_is_no_specification_file(cdi: CdiDevices, directories: tuple[Path, Path]) -> None:
    for name in ("x.yml", "x.json~", "x", ".json.swp"):
        write(directories[0] / name, spec("a"))
    (directories[0] / "directory.json").mkdir()
    write(directories[0] / "below/x.json", spec("a"))
    (directories[0] / "dangling.json").symlink_to("nowhere")
    os.mkfifo(directories[0] / "fifo.yaml")
    assert (cdi.known().devices, cdi.known().problems) == ({}, {})
    directories[1].touch()
    assert "Not a directory" in cdi.known().problems[str(directories[1])]


@pytest.mark.parametrize("what", ["file", "directory"])
def test_what_others_may_write_is_not_believed(cdi: CdiDevices, directories: tuple[Path, Path], what: str) -> None:
    """A hook of a specification runs as root on the host."""
    path = write(directories[0] / "x.json", spec("a"))
    writable = path if what == "file" else path.parent
    mode = writable.stat().st_mode
    for bit in (0o002, 0o020):
        writable.chmod(mode | bit)
        known = cdi.known()
        assert known.devices == {}
        assert "not believed" in known.problems[str(writable)]
    writable.chmod(mode)
    assert list(cdi.known().devices) == ["vendor.com/dev=a"]


def test_a_file_without_end(cdi: CdiDevices, directories: tuple[Path, Path]) -> None:
    path = write(directories[0] / "x.json", spec("a"))
    with path.open("r+b") as file:
        file.truncate(1 << 30)
    assert "has 1073741824 bytes" in cdi.known().problems[str(path)]


def test_names_that_are_none(cdi: CdiDevices) -> None:
    with pytest.raises(InvalidArgument, match="'gpu0'"):
        cdi.edits(["gpu0"])


def test_known_devices_of_the_kind_are_named(cdi: CdiDevices, directories: tuple[Path, Path]) -> None:
    write(directories[0] / "x.json", spec(*(f"d{number:02}" for number in range(30))))
    write(directories[0] / "y.json", spec("other", kind="other.com/dev"))
    with pytest.raises(NotFound, match=r"there are: vendor.com/dev=d00, .*d19, …$"):
        cdi.edits(["vendor.com/dev=x"])


def test_devices_in_annotations() -> None:
    annotations = {
        "cdi.k8s.io/b": "v/c=2",
        "cdi.k8s.io/a": "v/c=0,v/c=1",
        "cdi.k8s.io": "x",
        "other": encoded(spec()).decode(),
    }
    assert annotated_devices(annotations) == ["v/c=0", "v/c=1", "v/c=2"]
