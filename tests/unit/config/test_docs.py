from __future__ import annotations

from pathlib import Path

from podwright.config.docs import configuration_page


def test_the_configuration_page_is_current() -> None:
    page = Path(__file__).parents[3] / "docs" / "configuration.md"
    assert page.read_text() == configuration_page(), "run scripts/make-configuration-docs"
