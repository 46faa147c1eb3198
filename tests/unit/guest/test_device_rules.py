"""The BPF program of device rules, run by an interpreter of the few instructions it has."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.guest.device_rules import device_program
from podwright.guest.failures import Failure

DENY_ALL: dict[str, Any] = {"allow": False, "access": "rwm"}
MAKE, READ, WRITE = 1, 2, 4
BLOCK, CHARACTER = 1, 2


def allowed(rules: list[dict[str, Any]], kind: int, access: int, major: int, minor: int) -> bool:
    program = device_program(rules)
    context = struct.pack("<III", access << 16 | kind, major, minor)
    registers = {1: 0}
    at = 0
    while True:
        opcode, both, offset, value = struct.unpack_from("<BBhi", program, at * 8)
        target, source = both & 15, both >> 4
        at += 1
        if opcode == 0x95:
            return registers[0] == 1
        if opcode == 0x61:
            registers[target] = struct.unpack_from("<I", context, offset)[0]
        elif opcode == 0xB7:
            registers[target] = value
        elif opcode == 0xBF:
            registers[target] = registers[source]
        elif opcode == 0x57:
            registers[target] &= value & 0xFFFFFFFFFFFFFFFF
        elif opcode == 0x77:
            registers[target] >>= value
        elif opcode == 0x55:
            at += offset if registers[target] != value else 0
        else:
            assert opcode == 0x15
            at += offset if registers[target] == value else 0


def test_what_every_container_has_is_always_there() -> None:
    for major, minor in ((1, 3), (1, 5), (5, 2), (136, 7)):
        assert allowed([DENY_ALL], CHARACTER, READ | WRITE, major, minor)
    assert not allowed([DENY_ALL], CHARACTER, READ, 1, 11)
    assert not allowed([DENY_ALL], BLOCK, READ, 1, 3)


def test_a_rule_allows_what_it_names_and_no_more() -> None:
    rules = [DENY_ALL, {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}]
    assert allowed(rules, CHARACTER, READ | WRITE, 10, 229)
    assert not allowed(rules, CHARACTER, MAKE, 10, 229)
    assert not allowed(rules, CHARACTER, READ | MAKE, 10, 229)
    assert not allowed(rules, CHARACTER, READ, 10, 228)
    assert not allowed(rules, BLOCK, READ, 10, 229)


def test_a_later_rule_wins_and_a_denial_needs_any_of_its_accesses() -> None:
    rules: list[dict[str, Any]] = [{"allow": True}, {"allow": False, "type": "b", "access": "w"}]
    assert allowed(rules, BLOCK, READ, 8, 0)
    assert not allowed(rules, BLOCK, READ | WRITE, 8, 0)
    assert allowed(rules, CHARACTER, WRITE, 8, 0)


def test_a_rule_that_is_none_is_refused() -> None:
    with pytest.raises(Failure, match="'x' 'rwm' is no rule"):
        device_program([{"allow": True, "type": "x"}])


_RULES = st.lists(
    st.fixed_dictionaries(
        {"allow": st.booleans(), "type": st.sampled_from("abc"), "access": st.text("rwm", min_size=1, max_size=3)},
        optional={"major": st.integers(0, 3), "minor": st.integers(0, 3)},
    ),
    max_size=6,
)


@given(_RULES, st.sampled_from((BLOCK, CHARACTER)), st.integers(1, 7), st.integers(0, 3), st.integers(10, 12))
def test_as_the_rules_read(rules: list[dict[str, Any]], kind: int, access: int, major: int, minor: int) -> None:
    """Minor numbers that no default device has."""
    expected = False
    for rule in rules:
        named = sum({"m": MAKE, "r": READ, "w": WRITE}[letter] for letter in set(rule["access"]))
        if rule["type"] != "a":
            if {"b": BLOCK, "c": CHARACTER}[rule["type"]] != kind or rule.get("major", major) != major:
                continue
            if rule.get("minor", minor) != minor:
                continue
        if rule["allow"] and access & ~named == 0:
            expected = True
        elif not rule["allow"] and access & named:
            expected = False
    assert allowed(rules, kind, access, major, minor) == expected
