"""References to variables, in the cases that the Kubernetes reference spells out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.cli.manifest.expansion import expand

VARIABLES = {"A": "one", "B": "$(A)", "EMPTY": "", "with.dot": "dot"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("", ""), ("plain", "plain"), ("$(A)", "one"), ("<$(A)$(A)>", "<oneone>"), ("$(EMPTY)", ""),
        ("$(NOPE)", "$(NOPE)"), ("$$(A)", "$(A)"), ("$$$(A)", "$one"), ("$$$$(A)", "$$(A)"), ("$(B)", "$(A)"),
        ("$", "$"), ("a$", "a$"), ("$$", "$"), ("$A", "$A"), ("$(A", "$(A"), ("$()", "$()"), ("${A}", "${A}"),
        ("$(with.dot)", "dot"), ("$($(A))", "$(one)"),
    ],
)  # fmt: skip
def test_expansion(text: str, expanded: str) -> None:
    assert expand(text, VARIABLES) == expanded


@given(st.text(alphabet="$()AB x", max_size=30))
def test_a_doubled_dollar_protects_everything(text: str) -> None:
    assert expand(text.replace("$", "$$"), VARIABLES) == text
