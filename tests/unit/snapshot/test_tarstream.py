"""The tar reader: agrees with the standard library on what is sound, and survives what is not."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.snapshot import tarstream
from podwright.snapshot.tarstream import Member, TarError, TarReader
from tests.support import tars


def members(data: bytes) -> list[tuple[Member, bytes]]:
    stream = io.BytesIO(data)
    reader = TarReader(stream.read)
    found = []
    while (member := reader.next()) is not None:
        content = stream.read(member.stored)
        stream.read(tarstream.padding(member.stored))
        found.append((member, content))
    return found


NAMES = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=120)


@given(
    st.lists(st.tuples(NAMES, st.binary(max_size=700), st.integers(0, 0o7777), st.integers(0, 2**31)), max_size=5),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_agrees_with_the_standard_library(entries: list[tuple[str, bytes, int, int]], form: int) -> None:
    infos = []
    for name, data, mode, number in entries:
        info = tarfile.TarInfo(name)
        info.mode, info.uid, info.gid, info.mtime = mode, number, number // 2, number
        infos.append((info, data))
    found = members(tars.from_tarfile(infos, form))
    assert [(m.name.decode(), data, m.mode, m.uid, m.gid, m.mtime_ns) for m, data in found] == [
        (info.name, data, info.mode, info.uid, info.gid, info.mtime * 10**9) for info, data in infos
    ]


@given(st.binary(max_size=3000))
def test_any_bytes_end_or_are_refused(data: bytes) -> None:
    try:
        members(data)
    except TarError:
        return


@given(st.data())
def test_a_changed_byte_is_survived(data: st.DataObject) -> None:
    sound = bytearray(tars.archive(
        tars.pax({b"path": b"p" * 120, b"mtime": b"12.5", b"GNU.sparse.map": b"0,10", b"GNU.sparse.size": b"99"}),
        tars.file(b"x", b"0123456789"), tars.header(b"l", b"L", size=3) + tars.pad(b"abc"), tars.file(b"y"),
    ))  # fmt: skip
    sound[data.draw(st.integers(0, len(sound) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        members(bytes(sound))
    except TarError:
        return


@pytest.mark.parametrize("value", [b"1", b"0.5", b"1700000000.123456789", b"1.1234567899"])
def test_times_of_pax(value: bytes) -> None:
    [(member, _)] = members(tars.archive(tars.pax({b"mtime": value}), tars.file(b"x")))
    seconds, _, fraction = value.partition(b".")
    assert member.mtime_ns == int(seconds) * 10**9 + int((fraction[:9] or b"0").ljust(9, b"0"))


def test_a_slash_at_the_end_makes_an_old_file_a_directory() -> None:
    [(member, _)] = members(tars.archive(tars.header(b"d/", b"\0", magic=b"\0" * 8)))
    assert member.kind == tarstream.DIRECTORY


def test_the_prefix_counts_in_ustar_only() -> None:
    [(posix, _), (gnu, _)] = members(tars.archive(
        tars.file(b"x", prefix=b"dir"), tars.header(b"y", magic=b"ustar  \0", prefix=b"dir"),
    ))  # fmt: skip
    assert (posix.name, gnu.name) == (b"dir/x", b"y")


def test_global_headers_are_passed_over() -> None:
    [(member, _)] = members(tars.archive(tars.pax({b"path": b"evil"}, kind=b"g"), tars.file(b"x")))
    assert member.name == b"x"


def test_data_of_links_is_not_expected() -> None:
    found = members(tars.archive(tars.header(b"l", b"1", link=b"x", size=700), tars.file(b"x")))
    assert [m.stored for m, _ in found] == [0, 0]


@pytest.mark.parametrize("number", [0, 1, 0o777, 8**7, 2**32, 2**62, -1, -(2**62)])
def test_numbers_octal_and_base_256(number: int) -> None:
    for width in (8, 12):
        if -(256 ** (width - 1)) // 2 <= number < 256 ** (width - 1) // 2:
            assert tarstream._number(tars.number_field(number, width), "x") == number
