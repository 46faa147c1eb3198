"""The typed door: what it lets through, and that each error names its path."""

from collections.abc import Callable

import pytest

from podwright.base.errors import InvalidArgument
from podwright.cli.manifest.node import Node


def node(value: object, warnings: list[str] | None = None) -> Node:
    return Node(value, "spec", (warnings if warnings is not None else []).append)


def test_members_of_each_kind() -> None:
    here = node({"a": "x", "n": 3, "b": True, "l": ["y"], "m": {"k": "v"}, "i": [1, 2], "o": [{"c": 1}], "z": None})
    assert here.text("a") == "x"
    assert here.integer("n") == 3
    assert here.flag("b") is True
    assert here.texts("l") == ("y",)
    assert here.text_map("m") == {"k": "v"}
    assert here.integers("i") == (1, 2)
    assert [child.path for child in here.children("o")] == ["spec.o[0]"]
    assert "z" not in here
    assert here.scalar("n") == "3"


def test_absence() -> None:
    here = node({})
    assert here.text("a") == ""
    assert here.integer("a") is None
    assert here.flag("a") is None
    assert here.scalar("a") is None
    assert here.child("a") is None
    assert here.children("a") == []
    assert here.texts("a") == ()
    assert here.text_map("a") == {}


@pytest.mark.parametrize(
    ("value", "read", "message"),
    [
        ({"a": 1}, lambda n: n.text("a"), "spec.a: must be a string, not 1; put it in quotes"),
        ({"a": True}, lambda n: n.text("a"), "spec.a: must be a string, not true; put it in quotes"),
        ({"a": []}, lambda n: n.text("a"), "spec.a: must be a string, not a list"),
        ({}, lambda n: n.required_text("a"), "spec.a: is required"),
        ({"a": "1"}, lambda n: n.integer("a"), "spec.a: must be a whole number, not '1'"),
        ({"a": True}, lambda n: n.integer("a"), "spec.a: must be a whole number, not true"),
        ({"a": 70000}, lambda n: n.integer("a", most=65535), "spec.a: must be from 0 to 65535, not 70000"),
        ({"a": "yes"}, lambda n: n.flag("a"), "spec.a: must be true or false, not 'yes'"),
        ({"a": {}}, lambda n: n.texts("a"), "spec.a: must be a list, not an object"),
        ({"a": ["x", 1]}, lambda n: n.texts("a"), r"spec.a\[1\]: must be a string, not 1; put it in quotes"),
        ({"a": [-1]}, lambda n: n.integers("a"), r"spec.a\[0\]: must be a whole number of at least 0, not -1"),
        ({"a": "x"}, lambda n: n.child("a"), "spec.a: must be an object, not 'x'"),
        ({"a": ["x"]}, lambda n: n.children("a"), r"spec.a\[0\]: must be an object, not 'x'"),
        ({"a": {"b": 1}}, lambda n: n.text_map("a"), "spec.a.b: must be a string, not 1; put it in quotes"),
        ({"a": []}, lambda n: n.scalar("a"), "spec.a: must be a number or a string, not a list"),
        ({"a": "z"}, lambda n: n.choice("a", ("x", "y"), "x"), "spec.a: must be one of 'x', 'y', not 'z'"),
        ({1: "x"}, lambda n: n, "spec: the key 1 must be a string; put it in quotes"),
        ("x" * 50, lambda n: n, "spec: must be an object, not a string"),
    ],
)
def test_errors_name_the_path(value: object, read: Callable[[Node], object], message: str) -> None:
    with pytest.raises(InvalidArgument, match=f"^{message}$"):
        read(node(value))


def test_a_typo_gets_a_hint() -> None:
    with pytest.raises(InvalidArgument, match=r"^spec.contaners: unknown field; did you mean containers\?$"):
        node({"contaners": []}).only({"containers", "volumes"})
    with pytest.raises(InvalidArgument, match=r"^spec.qqq: unknown field; known: containers, volumes$"):
        node({"qqq": []}).only({"containers", "volumes"})


def test_ignored_fields_warn_and_refused_ones_raise_unless_empty() -> None:
    warnings: list[str] = []
    here = node({"probe": {"x": 1}, "affinity": {}, "claims": [], "wrong": ["x"]}, warnings)
    here.only({"wrong"}, ignored={"probe": "ignored", "affinity": "ignored"}, refused={"claims": "no"})
    assert warnings == ["spec.probe: ignored"]
    with pytest.raises(InvalidArgument, match=r"^spec.wrong: no$"):
        here.only({"probe", "affinity", "claims"}, refused={"wrong": "no"})
