"""libnftables on the real kernel: transactions, errors, one context for all threads."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from podwright.linux.nftables import Nftables, NftablesFailed
from tests.support import names

pytestmark = pytest.mark.root


@pytest.fixture
def table() -> Iterator[tuple[Nftables, str]]:
    nftables, name = Nftables(), f"inet {names.link('t')}"
    assert nftables.available
    nftables.apply(f"table {name} {{\n set ports {{\n type inet_service\n }}\n}}\n")
    yield nftables, name
    nftables.apply(f"delete table {name}")
    nftables.close()
    nftables.close()


def test_all_or_nothing(table: tuple[Nftables, str]) -> None:
    nftables, name = table
    with pytest.raises(NftablesFailed, match="No such file or directory"):
        nftables.apply(f"add element {name} ports {{ 80 }}\nadd element {name} nothing {{ 81 }}\n")
    assert "80" not in nftables.apply(f"list set {name} ports")
    nftables.apply(f"add element {name} ports {{ 80 }}")
    assert "80" in nftables.apply(f"list set {name} ports")


def test_words_that_mean_nothing(table: tuple[Nftables, str]) -> None:
    with pytest.raises(NftablesFailed, match="syntax error"):
        table[0].apply("make it so")


def test_many_threads(table: tuple[Nftables, str]) -> None:
    nftables, name = table
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda port: nftables.apply(f"add element {name} ports {{ {port} }}"), range(1000, 1040)))
    shown = nftables.apply(f"list set {name} ports")
    assert all(str(port) in shown for port in range(1000, 1040))


def test_a_closed_context_opens_again(table: tuple[Nftables, str]) -> None:
    nftables, name = table
    nftables.close()
    assert name in nftables.apply("list tables")
