"""The log format, with byte literals and with anything hypothesis can think of."""

import datetime
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.wire import cri_log
from podwright.wire.cri_log import (
    BadLogLine,
    LogEntry,
    LogJoiner,
    LogLine,
    LogReader,
    format_output,
    format_time,
    parse_line,
    parse_time,
)

T = b"2026-07-04T12:34:56.789012345Z"


def test_a_full_line() -> None:
    assert parse_line(T + b" stdout F hello  world ") == LogLine(T, "stdout", False, b"hello  world ")


def test_empty_content_more_tags_and_other_zones() -> None:
    assert parse_line(T + b" stderr P ").content == b""
    assert parse_line(T + b" stderr P:x:y z").partial
    assert parse_line(b"2026-07-04T14:34:56+02:00 stdout F \xff\x00").content == b"\xff\x00"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"hello",
        T + b" stdout F",
        T + b" stdin F x",
        T + b" stdout X x",
        T + b" stdout  F x",
        b"2026-07-04T12:34:56 stdout F no zone",
        b"2026-13-04T12:34:56Z stdout F x",
        b"2026-02-30T12:34:56Z stdout F x",
        b"0000-01-01T12:34:56Z stdout F x",
        b"2026-07-04T25:34:56Z stdout F x",
    ],
)
def test_what_is_not_a_log_line(line: bytes) -> None:
    with pytest.raises(BadLogLine):
        parse_line(line)


def test_times_are_nanoseconds() -> None:
    assert parse_time(b"1970-01-01T00:00:00Z") == 0
    assert parse_time(b"1970-01-01T00:00:01.5Z") == 1_500_000_000
    assert parse_time(b"1970-01-01T02:00:00.000000001+02:00") == 1
    assert parse_time(b"1969-12-31T23:00:00.123456789999-01:00") == 123_456_789
    assert parse_line(T + b" stdout F x").time_ns == 1_783_168_496_789_012_345


def test_partial_lines_are_joined_a_stream_at_a_time() -> None:
    reader, joiner = LogReader(), LogJoiner()
    lines = reader.feed(
        b"2026-01-01T00:00:00Z stdout P ab\n"
        b"2026-01-01T00:00:01Z stderr P 1\n"
        b"2026-01-01T00:00:02Z stdout F cd\n"
        b"2026-01-01T00:00:03Z stdout P rest\n"
    )
    assert joiner.add(lines) == [LogEntry(b"2026-01-01T00:00:00Z", "stdout", b"abcd", complete=True)]
    assert joiner.pending() == [
        LogEntry(b"2026-01-01T00:00:01Z", "stderr", b"1", complete=False),
        LogEntry(b"2026-01-01T00:00:03Z", "stdout", b"rest", complete=False),
    ]
    assert joiner.pending() == []


def test_a_broken_line_is_left_out_and_counted() -> None:
    reader = LogReader()
    lines = reader.feed(T + b" stdout F a\nnonsense\n" + T + b" stdout F b\n")
    assert [line.content for line in lines] == [b"a", b"b"]
    assert reader.malformed == 1


def test_a_last_line_without_newline() -> None:
    reader = LogReader()
    assert reader.feed(T + b" stdout F end") == []
    assert [line.content for line in reader.finish()] == [b"end"]
    assert reader.finish() == []


def test_lines_and_entries_have_a_limit() -> None:
    reader = LogReader(line_limit_bytes=64)
    fed = [line for _ in range(100) for line in reader.feed(b"x" * 10)]
    assert fed == []
    assert len(reader._rest) <= 64
    assert [line.content for line in reader.feed(b"\n" + T + b" stdout F ok\n")] == [b"ok"]
    assert reader.malformed == 1
    joiner = LogJoiner(entry_limit_bytes=4)
    assert [entry.content for entry in joiner.add([LogLine(T, "stdout", True, b"abc")] * 2)] == [b"abcabc"]


@given(st.binary())
def test_no_bytes_surprise_the_parser(data: bytes) -> None:
    reader, joiner = LogReader(), LogJoiner()
    joiner.add(reader.feed(data))
    joiner.add(reader.finish())
    joiner.pending()


lines_of_log = st.lists(
    st.builds(
        LogLine,
        time=st.datetimes().map(lambda t: t.isoformat().encode() + b"Z"),
        stream=st.sampled_from(["stdout", "stderr"]),
        partial=st.booleans(),
        content=st.binary().map(lambda b: b.replace(b"\n", b"")),
    )
)


def written(line: LogLine) -> bytes:
    return b" ".join([line.time, line.stream.encode(), b"P" if line.partial else b"F", line.content]) + b"\n"


@given(lines_of_log, st.lists(st.integers(min_value=0, max_value=4000)))
def test_pieces_of_any_size_give_the_same_lines(lines: list[LogLine], cuts: list[int]) -> None:
    data = b"".join(map(written, lines))
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    reader = LogReader()
    got = [line for start, end in itertools.pairwise(edges) for line in reader.feed(data[start:end])]
    assert got == lines
    assert reader.malformed == 0


@given(lines_of_log)
def test_joining_loses_no_byte(lines: list[LogLine]) -> None:
    joiner = LogJoiner()
    entries = joiner.add(lines) + joiner.pending()
    for stream in ("stdout", "stderr"):
        assert b"".join(e.content for e in entries if e.stream == stream) == b"".join(
            line.content for line in lines if line.stream == stream
        )


@given(st.integers(min_value=0, max_value=2**33 * 10**9))
def test_every_time_comes_back(ns: int) -> None:
    seconds, fraction = divmod(ns, 10**9)
    text = datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{fraction:09d}Z"
    assert cri_log.parse_time(text.encode()) == ns


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_output_in_pieces_of_any_size_is_the_same_text_again(pieces: list[bytes]) -> None:
    """Whatever the pieces, and whoever wrote each: no byte is lost, and lines end where the process ended them."""
    log = b"".join(format_output(piece, "stdout", 1_700_000_000_000_000_007 + i) for i, piece in enumerate(pieces))
    reader, joiner = LogReader(), LogJoiner()
    entries = [*joiner.add(reader.feed(log)), *joiner.pending()]
    assert reader.malformed == 0
    assert b"".join(entry.content + (b"\n" if entry.complete else b"") for entry in entries) == b"".join(pieces)


def test_output_as_lines() -> None:
    lines = format_output(b"one\n\ntw", "stderr", 1_700_000_000_000_000_007)
    start = b"2023-11-14T22:13:20.000000007Z stderr "
    assert lines == start + b"F one\n" + start + b"F \n" + start + b"P tw\n"
    assert parse_time(format_time(1_700_000_000_000_000_007)) == 1_700_000_000_000_000_007
