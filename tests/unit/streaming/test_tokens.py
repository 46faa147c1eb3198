"""One-time tokens."""

import pytest

from podwright.base.errors import ResourceExhausted
from podwright.streaming.base import Attach, Wanted
from podwright.streaming.tokens import Tokens

REQUEST = Attach("abc", Wanted(stdout=True))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_token_is_good_once_and_can_not_be_guessed() -> None:
    tokens = Tokens(10, 60)
    one, other = tokens.issue(REQUEST), tokens.issue(REQUEST)
    assert one != other
    assert len(one) >= 20
    assert tokens.redeem(one) == REQUEST
    assert tokens.redeem(one) is None
    assert tokens.redeem("") is None
    assert len(tokens) == 1


def test_a_token_expires() -> None:
    clock = Clock()
    tokens = Tokens(10, 60, clock)
    old = tokens.issue(REQUEST)
    clock.now += 59
    young = tokens.issue(REQUEST)
    clock.now += 1
    assert tokens.redeem(old) is None
    assert tokens.redeem(young) == REQUEST


def test_too_many_are_refused_until_some_are_gone() -> None:
    clock = Clock()
    tokens = Tokens(3, 60, clock)
    first = [tokens.issue(REQUEST) for _ in range(3)]
    with pytest.raises(ResourceExhausted, match="3 streaming URLs"):
        tokens.issue(REQUEST)
    tokens.redeem(first[1])
    tokens.issue(REQUEST)
    clock.now += 60
    assert len(tokens) == 0
    tokens.issue(REQUEST)
