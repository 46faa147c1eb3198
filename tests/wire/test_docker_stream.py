"""Frames of the Docker Engine: cut anywhere, and what is none."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.wire.docker_stream import BadFrame, FrameReader, Piece, Stream, encode_frame

frames = st.lists(st.tuples(st.sampled_from([Stream.STDOUT, Stream.STDERR]), st.binary(max_size=40)), max_size=8)


@given(frames, st.lists(st.integers(0, 400), max_size=8))
def test_any_cut_gives_the_same(sent: list[tuple[Stream, bytes]], cuts: list[int]) -> None:
    data = b"".join(encode_frame(stream, content) for stream, content in sent)
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    reader, found, current = FrameReader(), [], b""
    for start, end in itertools.pairwise(places):
        for piece in reader.feed(data[start:end]):
            current += piece.data
            if piece.ends:
                found.append((piece.stream, current))
                current = b""
    assert found == sent
    assert reader.between_frames


def test_data_is_passed_on_before_the_frame_is_whole() -> None:
    reader = FrameReader()
    whole = encode_frame(Stream.STDERR, b"hello")
    assert list(reader.feed(whole[:11])) == [Piece(Stream.STDERR, b"hel", ends=False)]
    assert not reader.between_frames
    assert list(reader.feed(whole[11:])) == [Piece(Stream.STDERR, b"lo", ends=True)]


@pytest.mark.parametrize(
    "data", [b"hello, this has a terminal\r\n", b"\x01\x00\x00\x01\x00\x00\x00\x01x", b"\x04" + bytes(7)]
)
def test_what_is_no_frame(data: bytes) -> None:
    with pytest.raises(BadFrame):
        list(FrameReader().feed(data))


def test_half_a_head_is_kept() -> None:
    reader = FrameReader()
    assert list(reader.feed(b"\x01\x00")) == []
    assert not reader.between_frames
