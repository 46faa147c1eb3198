"""The built-in network's rules, each time in a network namespace whose firewall is empty."""

from __future__ import annotations

import sys

import pytest

from podwright.linux import process

pytestmark = pytest.mark.root

SCRIPT = """
import asyncio, ipaddress, subprocess, sys
from podwright.linux.nftables import Nftables
from podwright.network.default_rules import DefaultRules

class Without(Nftables):
    available = False

def said(*words):
    return subprocess.run(words, capture_output=True, text=True).stdout

def shown():
    return " ".join(sorted(said("nft", "list", "tables").split("\\n")))

def forward():
    return said("iptables", "-S", "FORWARD").split("\\n")

async def main():
    if "drop" in sys.argv:
        subprocess.run(["iptables", "-P", "FORWARD", "DROP"], check=True)
    rules = DefaultRules(Without() if "without" in sys.argv else Nftables(), "pwbr0")
    subnets = [ipaddress.ip_network("10.1.0.0/24"), ipaddress.ip_network("fd00:1::/64")]
    for _ in range(2):
        await rules.allow(subnets)
    print(shown().strip())
    if "drop" in sys.argv:
        print(forward())
    if "without" in sys.argv:
        print(said("iptables", "-t", "nat", "-S", "POSTROUTING"))
    await rules.remove()
    print("left:", shown().strip())
    if "drop" in sys.argv:
        print(forward())
    if "without" in sys.argv:
        print("nat:", said("iptables-save", "-t", "nat"))

asyncio.run(main())
"""


async def outcome(*words: str) -> list[str]:
    done = await process.run(["unshare", "--net", sys.executable, "-c", SCRIPT, *words], timeout_s=60)
    return done.stdout.decode().splitlines()


async def test_nothing_is_left_of_the_rules() -> None:
    """Not even empty tables of iptables', which listing its rules makes."""
    assert await outcome() == ["table inet pwbr0", "left: "]


async def test_a_host_that_drops_what_it_forwards() -> None:
    before, allowed, left, after = await outcome("drop")
    assert before == "table inet pwbr0 table ip filter"
    assert "-A FORWARD -i pwbr0 -j ACCEPT" in allowed
    assert "-A FORWARD -o pwbr0 -j ACCEPT" in allowed
    assert left == "left: table ip filter"
    assert after == "['-P FORWARD DROP', '']"


async def test_without_libnftables() -> None:
    lines = await outcome("without")
    at = next(number for number, line in enumerate(lines) if line.startswith("left:"))
    assert lines[:at].count("-A POSTROUTING -s 10.1.0.0/24 ! -o pwbr0 -j MASQUERADE") == 1
    assert "pwbr0" not in "".join(lines[at:])
