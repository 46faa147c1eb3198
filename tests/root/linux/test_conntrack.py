"""The kernel's tracked flows and routes, asked by netlink."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from podwright.linux.conntrack import Flow, forget_udp
from podwright.linux.nftables import Nftables
from podwright.linux.routes import device_to
from tests.support import names

pytestmark = pytest.mark.root
INET = socket.AF_INET


@pytest.fixture
def tracking() -> Iterator[None]:
    """The kernel tracks flows while a rule asks for what it knows of them; an empty chain is not enough."""
    nftables, name = Nftables(), f"ip {names.link('t')}"
    nftables.apply(
        f"table {name} {{\n chain c {{\n type filter hook output priority 0;\n ct state new accept\n }}\n}}\n"
    )
    yield
    nftables.apply(f"delete table {name}")
    nftables.close()


@pytest.fixture
def flow(tracking: None) -> Iterator[tuple[Flow, int]]:
    """A UDP flow over the loopback, and its port."""
    with socket.socket(INET, socket.SOCK_DGRAM) as server, socket.socket(INET, socket.SOCK_DGRAM) as client:
        server.bind(("127.0.0.1", 0))
        client.sendto(b"x", server.getsockname())
        yield Flow("127.0.0.1", "127.0.0.1"), server.getsockname()[1]


def test_only_what_is_picked_is_forgotten(flow: tuple[Flow, int]) -> None:
    wanted, port = flow
    seen: list[Flow] = []

    def look(found: Flow) -> bool:
        seen.append(found)
        return False

    assert forget_udp(INET, port, look) == 0
    assert seen == [wanted]
    assert forget_udp(INET, port, lambda found: found == wanted) == 1
    assert forget_udp(INET, port, lambda _: True) == 0
    assert forget_udp(socket.AF_INET6, port, lambda _: True) == 0


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_the_way_to_an_address(address: str) -> None:
    assert device_to(address) == "lo"
