"""Digests: strict in, and nothing else ever becomes a path."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.base.errors import InvalidArgument
from podwright.oci.digest import Digest, digest_algorithm, digest_hex, digest_of, is_digest, parse_digest

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@given(st.binary(), st.sampled_from(["sha256", "sha512"]))
def test_digest_of_bytes_parses_to_itself(data: bytes, algorithm: str) -> None:
    digest = digest_of(data, algorithm)
    assert parse_digest(digest) == digest
    assert (digest_algorithm(digest), digest_hex(digest)) == (algorithm, hashlib.new(algorithm, data).hexdigest())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no algorithm"),
        ("e3b0c442", "no algorithm"),
        ("md5:d41d8cd98f00b204e9800998ecf8427e", "unknown algorithm 'md5'"),
        ("SHA256:" + "a" * 64, "unknown algorithm"),
        ("sha256:abc", "has 3 digits"),
        ("sha256:" + "A" * 64, "only the digits"),
        ("sha256:" + "../" * 21 + "x", "only the digits"),
        ("sha256:" + "٣" * 64, "only the digits"),
        (EMPTY + "\n", "65 digits"),
        ("sha512:" + "a" * 64, "needs 128"),
    ],
)
def test_bad_digests_are_refused_with_a_reason(text: str, words: str) -> None:
    assert not is_digest(text)
    with pytest.raises(InvalidArgument, match=words):
        parse_digest(text)


@given(st.text())
def test_anything_else_is_refused(text: str) -> None:
    if not is_digest(text):
        with pytest.raises(InvalidArgument):
            parse_digest(text)


def test_digests_are_plain_strings_in_records() -> None:
    class Record(msgspec.Struct):
        blob: Digest

    data = msgspec.json.encode(Record(parse_digest(EMPTY)))
    assert msgspec.json.decode(data, type=Record).blob == EMPTY
