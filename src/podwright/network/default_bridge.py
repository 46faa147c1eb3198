"""The built-in network, for machines where nobody configured one: a bridge, addresses from a private subnet.

Its leases live below the daemon's run directory, so that several daemons don't hand out each other's addresses and a
reboot clears them. Masquerading is one rule for the subnet, set when the first pod comes, where the bridge plugin
would set two rules and a chain for every pod (measured: 13 ms at ADD, 40 ms at DEL). `cni.py` calls it.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import socket
import struct
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from podwright.base.errors import InvalidArgument, PodwrightError
from podwright.base.log import get_logger
from podwright.linux import links, process
from podwright.network.base import Settings
from podwright.network.conflist import Conflist

log = get_logger(__name__)

NAME = "podwright"
_HOME = Path("/run/podwright")
_RULES_GOOD_FOR_S = 60.0  # firewall managers flush what they don't know when they reload
_FIREWALL_TIMEOUT_S = 10.0
ROUTE_TABLE = Path("/proc/net/route")
_ROUTE_UP = 1

Subnet = ipaddress.IPv4Network


class DefaultBridge:
    """The built-in network of the daemon that has the run directory `run`."""

    def __init__(self, settings: Settings, run: Path) -> None:
        self._wanted = _private_subnet(settings.default_subnet)
        self._ipam_dir = run / "ipam"
        self.bridge = settings.default_bridge or bridge_name(run)
        self._rules_checked_at = -_RULES_GOOD_FOR_S

    def conflist(self) -> Conflist:
        """The network as a list of plugins."""
        plugins: tuple[dict[str, Any], ...] = (
            {
                "type": "bridge",
                "bridge": self.bridge,
                "isGateway": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": os.fspath(self._ipam_dir),
                    "ranges": [[{"subnet": str(self.subnet())}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
            {"type": "bandwidth", "capabilities": {"bandwidth": True}},
        )
        return Conflist(NAME, "1.0.0", plugins)

    def subnet(self) -> Subnet:
        """The bridge's subnet while it exists, else one that no other route of the host overlaps."""
        routes = list(_routes())
        ours = [network for device, network in routes if device == self.bridge]
        if ours:
            return ours[0]
        taken = [network for _, network in routes if network.prefixlen > 0]
        for candidate in _candidates(self._wanted):
            if not any(candidate.overlaps(network) for network in taken):
                return candidate
        log.warning("every private subnet overlaps a route of this host", using=str(self._wanted))
        return self._wanted

    async def ensure_rules(self) -> None:
        """Masquerading for the subnet, and leave to forward where the host's default is to drop. Nothing when fresh.

        What fails here costs pods their way to other machines, not their address: it is logged.
        """
        now = time.monotonic()
        if now - self._rules_checked_at < _RULES_GOOD_FOR_S:
            return
        self._rules_checked_at = now
        try:
            await self._masquerade(str(self.subnet()))
            await self._allow_forwarding()
        except PodwrightError as error:
            log.warning("pods may not reach other machines", bridge=self.bridge, error=str(error))

    async def _masquerade(self, subnet: str) -> None:
        if process.find_program("nft"):
            await process.run(["nft", "-f", "-"], stdin=self._nft_table(subnet).encode(), timeout_s=_FIREWALL_TIMEOUT_S)
        else:
            rule = ("POSTROUTING", "-s", subnet, "!", "-o", self.bridge, "-j", "MASQUERADE")
            await _ensure_iptables_rule("nat", "-A", rule)

    def _nft_table(self, subnet: str) -> str:
        """A table of our own, replaced as a whole in one transaction. nft(8)."""
        return (
            f"{self._nft_delete()}table {self._nft_name} {{\nchain postrouting {{\n"
            "type nat hook postrouting priority srcnat; policy accept;\n"
            f'ip saddr {subnet} oifname != "{self.bridge}" masquerade\n}}\n}}\n'
        )

    @property
    def _nft_name(self) -> str:
        return "ip " + re.sub(r"\W", "_", self.bridge)

    def _nft_delete(self) -> str:
        """Declared first, since deleting what isn't there is an error."""
        return f"table {self._nft_name} {{}}\ndelete table {self._nft_name}\n"

    async def _allow_forwarding(self) -> None:
        """Docker, for one, sets the FORWARD policy to DROP; an accept in a table of our own would not count."""
        if not process.find_program("iptables"):
            return
        chain = await _iptables("-S", "FORWARD")
        if b"-P FORWARD DROP" in chain.stdout:
            for direction in ("-i", "-o"):
                await _ensure_iptables_rule("filter", "-I", ("FORWARD", direction, self.bridge, "-j", "ACCEPT"))

    def drop_stale_leases(self, valid_ids: Collection[str]) -> None:
        """Free the addresses of pods that are no more: host-local keeps a file an address, its first line the pod."""
        directory = self._ipam_dir / NAME
        if not directory.is_dir():
            return
        for lease in directory.iterdir():
            if lease.name[0].isdigit() and lease.read_text(errors="replace").split("\n")[0].strip() not in valid_ids:
                log.info("dropping the address of a pod that is no more", address=lease.name)
                lease.unlink(missing_ok=True)

    async def remove(self) -> None:
        """Take the bridge and its rules away; for when the last pod has gone for good."""
        if process.find_program("nft"):
            delete = self._nft_delete().encode()
            await process.run(["nft", "-f", "-"], stdin=delete, timeout_s=_FIREWALL_TIMEOUT_S, check=False)
        if process.find_program("iptables"):
            for direction in ("-i", "-o"):
                await _iptables("-D", "FORWARD", direction, self.bridge, "-j", "ACCEPT")
        self._rules_checked_at = -_RULES_GOOD_FOR_S
        links.delete_bridge(self.bridge)


def bridge_name(run: Path) -> str:
    """podwright0 for the daemon in the usual place, else a name that its run directory makes unique."""
    if run == _HOME:
        return "podwright0"
    return "podwr-" + hashlib.sha256(os.fsencode(run)).hexdigest()[:8]


def _private_subnet(text: str) -> Subnet:
    try:
        return Subnet(text, strict=False)
    except ValueError as error:
        raise InvalidArgument(
            f"{error}; an IPv4 subnet such as 10.85.0.0/16", field="network.default_subnet"
        ) from error


def _candidates(first: Subnet) -> Iterator[Subnet]:
    yield first
    yield from (Subnet(f"10.{second}.0.0/16") for second in range(86, 128))
    yield from (Subnet(f"172.{second}.0.0/16") for second in range(20, 32))
    yield from (Subnet(f"192.168.{third}.0/24") for third in range(200, 250))


def _routes() -> Iterator[tuple[str, Subnet]]:
    """(device, destination) of the IPv4 routes of the host. proc_net(5), /proc/net/route: little-endian words."""
    for line in ROUTE_TABLE.read_text().splitlines()[1:]:
        words = line.split()
        if int(words[3], 16) & _ROUTE_UP:
            address, mask = (socket.inet_ntoa(struct.pack("=I", int(words[n], 16))) for n in (1, 7))
            yield words[0], Subnet(f"{address}/{mask}", strict=False)


async def _ensure_iptables_rule(table: str, how: str, rule: tuple[str, ...]) -> None:
    present = await _iptables("-t", table, "-C", *rule)
    if present.returncode != 0:
        await _iptables("-t", table, how, *rule, check=True)


async def _iptables(*words: str, check: bool = False) -> process.Completed:
    # -w: wait for the lock that all iptables of the host share
    return await process.run(["iptables", "-w", "5", *words], timeout_s=_FIREWALL_TIMEOUT_S, check=check)
