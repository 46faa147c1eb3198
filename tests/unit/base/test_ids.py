from __future__ import annotations

import pytest

from podwright.base.errors import InvalidArgument, NotFound
from podwright.base.ids import AmbiguousId, PrefixIndex, new_id


def test_new_ids_are_64_hexadecimal_digits() -> None:
    assert len({new_id() for _ in range(100)}) == 100
    assert all(len(new_id()) == 64 and int(new_id(), 16) >= 0 for _ in range(10))


def test_a_unique_prefix_is_found_and_an_ambiguous_one_is_refused() -> None:
    index = PrefixIndex("container")
    for known in ("abc1", "abc2", "b", "b1"):
        index.add(known)
    assert index.resolve("abc1") == "abc1"
    assert index.resolve("b") == "b", "an exact id wins over longer ones"
    with pytest.raises(AmbiguousId, match="more than one"):
        index.resolve("abc")
    with pytest.raises(NotFound, match="container 'x' not found"):
        index.resolve("x")
    with pytest.raises(InvalidArgument):
        index.resolve("")
    index.discard("abc2")
    assert index.resolve("abc") == "abc1"
