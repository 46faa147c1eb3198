"""Quantities, by example and by property."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.cli.manifest import quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0), ("1", 1), ("1.5", Fraction(3, 2)), (".5", Fraction(1, 2)), ("5.", 5), ("100m", Fraction(1, 10)),
        ("64Mi", 64 * 2**20), ("1.5Gi", 3 * 2**29), ("1G", 10**9), ("12e6", 12 * 10**6), ("1E3", 1000), ("1E", 10**18),
        ("2e-3", Fraction(2, 1000)), ("+3k", 3000), ("1n", Fraction(1, 10**9)), (" 7 ", 7),
    ],
)  # fmt: skip
def test_what_they_mean(text: str, value: Fraction) -> None:
    assert quantity.parse(text) == value


@pytest.mark.parametrize("text", ["", "x", "1X", "1 Mi", "-1", "1e", "Mi", "1mi", "0x10", "1_000", "\u0661", "1" * 65])
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"quantity|negative"):
        quantity.parse(text)


def test_rounding_is_upwards() -> None:
    assert quantity.milli(quantity.parse("1.0001")) == 1001
    assert quantity.milli(quantity.parse("1u")) == 1
    assert quantity.whole(quantity.parse("100m")) == 1


@given(st.text(max_size=20))
def test_no_text_surprises_the_parser(text: str) -> None:
    try:
        assert quantity.parse(text) >= 0
    except ValueError:
        pass


@given(st.integers(0, 10**12), st.sampled_from(["Ki", "Mi", "k", "M"]))
def test_scale(number: int, suffix: str) -> None:
    assert quantity.parse(f"{number}{suffix}") == number * quantity.parse(f"1{suffix}")
