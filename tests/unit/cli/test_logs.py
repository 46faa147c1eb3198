"""Reading a log file that grows, is rotated, is truncated; the last lines of it; times to begin from."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from podwright.base.errors import InvalidArgument
from podwright.cli.logs import LogFile, Printer, parse_since
from podwright.wire.cri_log import LogEntry

T = "2026-07-04T12:00:00Z"


def line(text: str, stream: str = "stdout", tag: str = "F", time: str = T) -> str:
    return f"{time} {stream} {tag} {text}\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "0.log"


@pytest.fixture
def log(path: Path) -> Iterator[LogFile]:
    path.write_text("")
    with closing(LogFile(path)) as file:
        yield file


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def contents(file: LogFile) -> list[bytes]:
    return [entry.content for entry in file.new_entries()]


def test_growth(path: Path, log: LogFile) -> None:
    append(path, line("one") + line("two")[:20])
    assert contents(log) == [b"one"]
    append(path, line("two")[20:])
    assert contents(log) == [b"two"]
    assert contents(log) == []


def test_a_prompt_without_newline_shows_at_once(path: Path, log: LogFile) -> None:
    append(path, line("name? ", tag="P"))
    assert [(e.content, e.complete) for e in log.new_entries()] == [(b"name? ", False)]
    append(path, line("Bob"))
    assert [(e.content, e.complete) for e in log.new_entries()] == [(b"Bob", True)]


def test_rotation_loses_nothing(path: Path, log: LogFile) -> None:
    append(path, line("one"))
    assert contents(log) == [b"one"]
    append(path, line("two"))
    path.rename(path.with_suffix(".old"))
    assert contents(log) == [b"two"], "the new file isn't there yet"
    append(path.with_suffix(".old"), line("three"))
    path.write_text(line("four"))
    assert contents(log) == [b"three", b"four"]
    append(path, line("five"))
    assert contents(log) == [b"five"]


def test_truncation_starts_anew(path: Path, log: LogFile) -> None:
    append(path, line("one") * 3)
    contents(log)
    os.truncate(path, 0)
    append(path, line("two"))
    assert contents(log) == [b"two"]


@pytest.mark.parametrize("count", [0, 1, 3, 99])
@pytest.mark.parametrize("width", [10, 3000, 100_000])
def test_the_last_lines(path: Path, log: LogFile, count: int, width: int) -> None:
    append(path, "".join(line(f"{n} " + "x" * width) for n in range(60)))
    append(path, line("unfinished")[:-1])
    found = [entry.content.split()[0] for entry in log.last_entries(count)]
    assert found == [str(n).encode() for n in range(60)][-count:] * bool(count)
    append(path, "\n")
    assert contents(log) == [b"unfinished"]


def test_the_last_lines_are_whole_ones(path: Path, log: LogFile) -> None:
    append(path, line("a", tag="P") + line("b", tag="P") + line("c") + line("d", tag="P") + line("e"))
    assert [entry.content for entry in log.last_entries(1)] == [b"de"]
    assert contents(log) == []


def test_printing(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    printer = Printer(timestamps=True, since_ns=1_000_000_000)
    printer.print(
        [
            LogEntry(b"1970-01-01T00:00:00Z", "stdout", b"old", complete=True),
            LogEntry(b"1970-01-01T00:00:02Z", "stdout", b"a", complete=False),
            LogEntry(b"1970-01-01T00:00:03Z", "stdout", b"b\xff", complete=True),
            LogEntry(b"1970-01-01T00:00:04Z", "stderr", b"e", complete=True),
        ]
    )
    out, err = capfdbinary.readouterr()
    assert out == b"1970-01-01T00:00:02Z ab\xff\n"
    assert err == b"1970-01-01T00:00:04Z e\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10s", 990), ("5m", 700), ("1h30m", 1000 - 5400), ("1d", 1000 - 86400), ("1970-01-01T00:00:07Z", 7)],
)
def test_since(text: str, expected: int) -> None:
    assert parse_since(text, 1000) == expected * 10**9


@pytest.mark.parametrize("text", ["", "5", "5 m", "yesterday", "2026-07-04"])
def test_since_what(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"--since: .*neither a span"):
        parse_since(text, 1000)
