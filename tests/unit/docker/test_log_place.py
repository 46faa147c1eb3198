"""Where a log goes on: told by the file, and by the store where the file can't tell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from podwright.docker.container.log_place import LogPlaces
from podwright.state.store import Store
from podwright.wire.docker_log import LogPlace, StreamPlace


def time_of(second: int) -> str:
    return f"2026-11-25T22:54:{second:02d}.000000001Z"


def line(second: int, stream: str = "stdout", words: str = "x") -> str:
    return f"{time_of(second)} {stream} F {words}\n"


@pytest.fixture
def places(tmp_path: Path) -> Iterator[LogPlaces]:
    store = Store(tmp_path / "state.db")
    yield LogPlaces(store)
    store.close()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    directory = tmp_path / "logs"
    directory.mkdir()
    path = directory / "0.log"
    path.touch()
    return path


def streams(place: LogPlace) -> dict[str, tuple[str, int]]:
    return {name: (at.time.decode(), at.count) for name, at in place.streams.items()}


def test_the_end_of_the_file_says_how_far(places: LogPlaces, log: Path) -> None:
    places.begin("c", log, LogPlace())
    log.write_text(line(1) + line(2, "stderr") + line(3) + line(3) + line(3))
    assert streams(places.find("c", log)) == {"stdout": (time_of(3), 3), "stderr": (time_of(2), 1)}


def test_a_line_that_was_being_written_is_cut_off(places: LogPlaces, log: Path) -> None:
    places.begin("c", log, LogPlace())
    for torn in (time_of(2)[:9], time_of(2), line(2)[:-1]):
        log.write_text(line(1) + torn)
        assert streams(places.find("c", log)) == {"stdout": (time_of(1), 1)}
        assert log.read_text() == line(1)
    log.write_text(time_of(2)[:9])
    assert streams(places.find("c", log)) == {}
    assert log.read_text() == ""


def test_a_file_of_somebody_elses_is_left_alone(places: LogPlaces, log: Path) -> None:
    places.begin("c", log, LogPlace())
    log.write_bytes(b"\x1f\x8b rubbish\nand more")
    assert streams(places.find("c", log)) == {}
    assert log.read_bytes() == b"\x1f\x8b rubbish\nand more"


def test_an_empty_file_goes_on_where_the_one_before_ended(places: LogPlaces, log: Path) -> None:
    places.begin("c", log, LogPlace({"stdout": StreamPlace(time_of(7).encode(), 2)}))
    assert streams(places.find("c", log)) == {"stdout": (time_of(7), 2)}
    log.write_text(line(7))
    assert streams(places.find("c", log)) == {"stdout": (time_of(7), 3)}, "three messages of one time, over two files"
    log.write_text(line(7) + line(8))
    assert streams(places.find("c", log)) == {"stdout": (time_of(8), 1)}


def test_a_file_that_was_renamed_is_found(places: LogPlaces, log: Path) -> None:
    places.begin("c", log, LogPlace())
    log.write_text(line(1) + line(2)[:-1])
    log.rename(log.with_name("0.log.20261125-225442"))
    assert streams(places.find("c", log)) == {"stdout": (time_of(1), 1)}
    log.touch()
    assert streams(places.find("c", log)) == {"stdout": (time_of(1), 1)}


def test_a_file_that_is_gone(places: LogPlaces, log: Path) -> None:
    places.begin("c", log, LogPlace({"stderr": StreamPlace(time_of(7).encode(), 2)}))
    log.unlink()
    assert streams(places.find("c", log)) == {"stderr": (time_of(7), 2)}
    log.parent.rmdir()
    assert streams(places.find("c", log)) == {"stderr": (time_of(7), 2)}
    places.forget("c")
    assert streams(places.find("c", log)) == {}


def test_the_same_file_is_not_begun_twice(places: LogPlaces, log: Path) -> None:
    places.begin("c", log, LogPlace())
    log.write_text(line(1))
    places.begin("c", log, places.find("c", log))
    assert streams(places.find("c", log)) == {"stdout": (time_of(1), 1)}
