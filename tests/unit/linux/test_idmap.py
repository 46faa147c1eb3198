"""Id maps as numbers."""

from __future__ import annotations

import pytest

from podwright.base.errors import InvalidArgument
from podwright.linux.idmap import IdMaps, IdRange

MAPS = IdMaps((IdRange(0, 200_000, 10), IdRange(10, 5000, 5)), (IdRange(0, 300_000, 10),))


def test_ids_inside_are_others_outside() -> None:
    assert MAPS.root == (200_000, 300_000)
    assert MAPS.outside(9, 9) == (200_009, 300_009)
    assert MAPS.outside(14, 0) == (5004, 300_000)
    assert str(MAPS.uids[1]) == "10 5000 5", "a line of uid_map"


@pytest.mark.parametrize(("uid", "gid", "word"), [(15, 0, "uid 15"), (0, 10, "gid 10")])
def test_an_unmapped_id_is_named(uid: int, gid: int, word: str) -> None:
    with pytest.raises(InvalidArgument, match=word):
        MAPS.outside(uid, gid)
