"""Netlink attributes as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.linux.netlink import attribute, attributes, nested


def test_an_attribute_is_padded_but_its_length_is_not() -> None:
    assert attribute(1, b"abc") == b"\x07\x00\x01\x00abc\x00"
    assert attributes(attribute(1, b"abc") + attribute(2, b"")) == {1: b"abc", 2: b""}


def test_attributes_within_attributes() -> None:
    (inner,) = attributes(nested(3, attribute(1, b"x"), attribute(2, b"yz"))).values()
    assert attributes(inner) == {1: b"x", 2: b"yz"}


@pytest.mark.parametrize("data", [b"", b"\x04", b"\x00\x00\x01\x00abcd", b"\xff\xff\x01\x00a"])
def test_what_is_cut_off_ends_the_list(data: bytes) -> None:
    assert attributes(attribute(9, b"kept") + data)[9] == b"kept"


@given(st.binary(max_size=200))
def test_any_bytes_end(data: bytes) -> None:
    attributes(data)
