"""What the built-in network needs of the host's firewall: masquerading, and leave to forward. `default_bridge.py` asks.

An nftables table of our own, or iptables where libnftables is missing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from podwright.base.tasks import in_thread
from podwright.linux import process
from podwright.linux.nftables import Nftables, NftablesFailed
from podwright.network.subnets import Subnet, Subnet6

_TIMEOUT_S = 10.0
_IPTABLES = {4: "iptables", 6: "ip6tables"}
# Of iptables-legacy, where its modules are loaded.
_LEGACY_TABLES = {4: Path("/proc/net/ip_tables_names"), 6: Path("/proc/net/ip6_tables_names")}


class DefaultRules:
    """The rules for one bridge."""

    def __init__(self, nftables: Nftables, bridge: str) -> None:
        self._nftables, self._bridge = nftables, bridge

    async def allow(self, subnets: Sequence[Subnet | Subnet6]) -> None:
        """Have the rules; those that are there already are success. Raises what the firewall's programs raise."""
        bridge = self._bridge
        if self._nftables.available:
            await in_thread(self._nftables.apply, _table(bridge, subnets))
        else:
            for subnet in subnets:
                rule = ("POSTROUTING", "-s", str(subnet), "!", "-o", bridge, "-j", "MASQUERADE")
                await _ensure_rule(subnet.version, "nat", "-A", rule)
        for subnet in subnets:
            if await self._filters(subnet.version):
                await _allow_forwarding(bridge, subnet.version)

    async def remove(self) -> None:
        """Take back all of it that is ours alone."""
        if self._nftables.available:
            await in_thread(self._nftables.apply, _removal(self._bridge))
        else:
            for version in _IPTABLES:
                await _stop_masquerading(version, self._bridge)
        for version in _IPTABLES:
            if await self._filters(version):
                for direction in ("-i", "-o"):
                    await _iptables(version, "-D", "FORWARD", direction, self._bridge, "-j", "ACCEPT")

    async def _filters(self, version: int) -> bool:
        """Whether iptables has a table that could drop what is forwarded. To ask iptables would make one."""
        if _LEGACY_TABLES[version].exists() and "filter" in _LEGACY_TABLES[version].read_text().split():
            return True
        if not self._nftables.available:
            return True
        family = "ip" if version == 4 else "ip6"
        try:
            await in_thread(self._nftables.apply, f"list chain {family} filter FORWARD")
        except NftablesFailed:
            return False
        return True


def _table(bridge: str, subnets: Sequence[Subnet | Subnet6]) -> str:
    """Replaced as a whole in one transaction. nft(8)."""
    rules = "".join(
        f'  {"ip" if subnet.version == 4 else "ip6"} saddr {subnet} oifname != "{bridge}" masquerade\n'
        for subnet in subnets
    )
    return (
        f"{_removal(bridge)}table inet {_name(bridge)} {{\nchain postrouting {{\n"
        f"  type nat hook postrouting priority srcnat; policy accept;\n{rules}}}\n}}\n"
    )


def _removal(bridge: str) -> str:
    """Declared first, since deleting what isn't there is an error."""
    return f"table inet {_name(bridge)}\ndelete table inet {_name(bridge)}\n"


def _name(bridge: str) -> str:
    return re.sub(r"\W", "_", bridge)


async def _allow_forwarding(bridge: str, version: int) -> None:
    """Docker, for one, sets the FORWARD policy to DROP; an accept in a table of our own would not count."""
    chain = await _iptables(version, "-S", "FORWARD")
    if b"-P FORWARD DROP" in chain.stdout:
        for direction in ("-i", "-o"):
            await _ensure_rule(version, "filter", "-I", ("FORWARD", direction, bridge, "-j", "ACCEPT"))


async def _stop_masquerading(version: int, bridge: str) -> None:
    """Delete the rules that `allow` added, whatever the subnets were."""
    listed = await _iptables(version, "-t", "nat", "-S", "POSTROUTING")
    for line in listed.stdout.decode(errors="replace").splitlines():
        words = line.split()
        if words[:1] == ["-A"] and words[-5:] == ["!", "-o", bridge, "-j", "MASQUERADE"]:
            await _iptables(version, "-t", "nat", "-D", *words[1:])


async def _ensure_rule(version: int, table: str, how: str, rule: tuple[str, ...]) -> None:
    present = await _iptables(version, "-t", table, "-C", *rule)
    if present.returncode != 0:
        await _iptables(version, "-t", table, how, *rule, check=True)


async def _iptables(version: int, *words: str, check: bool = False) -> process.Completed:
    program = _IPTABLES[version]
    if not process.find_program(program):
        return process.Completed(127, b"", b"")
    # -w: wait for the lock that all iptables of the host share
    return await process.run([program, "-w", "5", *words], timeout_s=_TIMEOUT_S, check=check)
