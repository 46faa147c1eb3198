"""Decompression: what it accepts, and that no read is longer than asked for."""

from __future__ import annotations

import gzip
import io
import os

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from podwright.snapshot.decompress import CompressionError, open_stream


def plain_of(data: bytes, piece: int = 1 << 20) -> bytes:
    stream = open_stream(io.BytesIO(data).read)
    pieces = []
    while chunk := stream.read(piece):
        assert len(chunk) <= piece
        pieces.append(chunk)
    return b"".join(pieces)


@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=4), st.integers(1, 5000))
def test_members_and_frames_are_one_stream(parts: list[bytes], piece: int) -> None:
    whole = b"".join(parts)
    assert plain_of(b"".join(gzip.compress(part) for part in parts), piece) == whole
    assert plain_of(b"".join(zstandard.compress(part) for part in parts), piece) == whole


@given(st.binary(max_size=300))
def test_any_bytes_end_or_are_refused(data: bytes) -> None:
    for magic in (b"", b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd"):
        try:
            plain_of(magic + data)
        except CompressionError:
            continue


def test_reads_are_bounded_whatever_the_ratio() -> None:
    bomb = zstandard.compress(bytes(200 << 20))
    stream = open_stream(io.BytesIO(bomb).read)
    assert len(stream.read(1000)) <= 1000
    stream = open_stream(io.BytesIO(gzip.compress(bytes(50 << 20))).read)
    assert len(stream.read(1000)) <= 1000


def test_short_reads_of_the_source() -> None:
    data = os.urandom(3000)
    for packed in (data, gzip.compress(data), zstandard.compress(data)):
        source = io.BytesIO(packed)
        stream = open_stream(lambda n, source=source: source.read(min(n, 7)))  # type: ignore[misc]
        assert b"".join(iter(lambda stream=stream: stream.read(100), b"")) == data  # type: ignore[misc]


@pytest.mark.parametrize(("magic", "name"), [(b"\xfd7zXZ\0", "xz"), (b"BZh9", "bzip2"), (b"\x04\x22\x4d\x18", "lz4")])
def test_other_compressions_are_named(magic: bytes, name: str) -> None:
    with pytest.raises(CompressionError, match=name):
        plain_of(magic + bytes(100))


def test_an_empty_blob() -> None:
    assert plain_of(b"") == b""
