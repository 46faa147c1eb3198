"""Names and numbers of signals."""

from __future__ import annotations

import signal

import pytest

from podwright.base.errors import InvalidArgument
from podwright.ociruntime.signals import parse_signal


@pytest.mark.parametrize(
    ("word", "number"),
    [("TERM", 15), ("SIGKILL", 9), ("hup", 1), ("64", 64), ("RTMIN+3", signal.SIGRTMIN + 3), ("SIGRTMIN", 34)],
)
def test_a_signal(word: str, number: int) -> None:
    assert parse_signal(word) == number


@pytest.mark.parametrize("word", ["", "0", "65", "-9", "WHAT", "TERM+x", "_DFL", "RTMAX+1", "BLOCK"])
def test_no_signal(word: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_signal(word)
