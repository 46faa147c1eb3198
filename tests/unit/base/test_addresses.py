from __future__ import annotations

import pytest

from podwright.base.addresses import is_address


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("10.0.0.1", True), ("::", True), ("fd00::1", True), ("", False), ("10.0.0.1/8", False), ("10.0.0.1:80", False)],
)
def test_addresses(text: str, wanted: bool) -> None:
    assert is_address(text) is wanted
