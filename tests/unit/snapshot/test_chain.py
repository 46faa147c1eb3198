"""Chain ids by the specification's recursion."""

from __future__ import annotations

import hashlib

from podwright.snapshot.chain import chain_id, chain_ids

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")


def test_the_lowest_layer_names_itself() -> None:
    assert chain_id([A]) == A
    assert chain_ids([]) == []
    assert chain_id([]) == ""


def test_each_further_layer_is_hashed_onto_the_chain() -> None:
    second = "sha256:" + hashlib.sha256(f"{A} {B}".encode()).hexdigest()
    third = "sha256:" + hashlib.sha256(f"{second} {C}".encode()).hexdigest()
    assert chain_ids([A, B, C]) == [A, second, third]


def test_order_matters() -> None:
    assert chain_id([A, B]) != chain_id([B, A])
