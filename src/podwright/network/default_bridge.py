"""The built-in network, for machines where nobody configured one: a bridge, addresses from private subnets.

Its leases live below the daemon's run directory, so that several daemons don't hand out each other's addresses and a
reboot clears them. Masquerading is one rule a subnet, set when the first pod comes, where the bridge plugin
would set two rules and a chain for every pod (measured: 13 ms at ADD, 40 ms at DEL). `cni.py` calls it.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from podwright.base.addresses import is_address
from podwright.base.errors import PodwrightError
from podwright.base.log import get_logger
from podwright.linux import links
from podwright.linux.nftables import Nftables
from podwright.network import subnets
from podwright.network.base import Settings
from podwright.network.conflist import Conflist
from podwright.network.default_rules import DefaultRules
from podwright.network.subnets import Subnets

log = get_logger(__name__)

NAME = "podwright"
_HOME = Path("/run/podwright")
_RULES_GOOD_FOR_S = 60.0  # firewall managers flush what they don't know when they reload
IPV6_SETTINGS = Path("/proc/sys/net/ipv6/conf")


class DefaultBridge:
    """The built-in network of the daemon that has the run directory `run`."""

    def __init__(self, settings: Settings, run: Path, nftables: Nftables) -> None:
        self._ipam_dir = run / "ipam"
        self.bridge = settings.default_bridge or bridge_name(run)
        self.subnets = Subnets(settings, run, self.bridge)
        self._rules = DefaultRules(nftables, self.bridge)
        self._rules_checked_at = -_RULES_GOOD_FOR_S

    def conflist(self) -> Conflist:
        """The network as a list of plugins. Host ports are not among their work: host_ports.py is quicker."""
        current = self.subnets.current()
        plugins: tuple[dict[str, Any], ...] = (
            {
                "type": "bridge",
                "bridge": self.bridge,
                "isGateway": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": os.fspath(self._ipam_dir),
                    "ranges": [[{"subnet": str(subnet)}] for subnet in current],
                    "routes": [{"dst": "0.0.0.0/0" if subnet.version == 4 else "::/0"} for subnet in current],
                },
            },
            {"type": "bandwidth", "capabilities": {"bandwidth": True}},
        )
        return Conflist(NAME, "1.0.0", plugins)

    def keep_router_advertisements(self) -> None:
        """A host that forwards IPv6 ignores router advertisements, which may be all it has its default route from,
        unless accept_ra is 2. The bridge plugin is about to make it one that forwards. ip-sysctl.rst, accept_ra.
        Links that have learned nothing that way stay as they are: nobody shall teach us from inside a pod.
        """
        forwarding = IPV6_SETTINGS / "all/forwarding"
        if not forwarding.exists() or forwarding.read_text().strip() == "1":
            return
        if not any(subnet.version == 6 for subnet in self.subnets.current()):
            return
        for link in subnets.links_with_advertised_routes():
            setting = IPV6_SETTINGS / link / "accept_ra"
            if setting.read_text().strip() == "1":
                setting.write_text("2")

    async def ensure_rules(self) -> None:
        """Masquerading for the subnets, and leave to forward where the host's default is to drop. Nothing when fresh.

        What fails here costs pods their way to other machines, not their address: it is logged.
        """
        now = time.monotonic()
        if now - self._rules_checked_at < _RULES_GOOD_FOR_S:
            return
        self._rules_checked_at = now
        try:
            await self._rules.allow(self.subnets.current())
        except PodwrightError as error:
            log.warning("pods may not reach other machines", bridge=self.bridge, error=str(error))

    def set_pod_cidrs(self, cidrs: Sequence[str]) -> None:
        """The subnets that the cluster gives this node. Raises InvalidArgument."""
        self.subnets.set_pod_cidrs(cidrs)

    def drop_stale_leases(self, valid_ids: Collection[str]) -> None:
        """Free the addresses of pods that are no more: host-local keeps a file an address, its first line the pod."""
        directory = self._ipam_dir / NAME
        if not directory.is_dir():
            return
        for lease in directory.iterdir():
            if is_address(lease.name) and lease.read_text(errors="replace").split("\n")[0].strip() not in valid_ids:
                log.info("dropping the address of a pod that is no more", address=lease.name)
                lease.unlink(missing_ok=True)

    async def remove(self) -> None:
        """Take the bridge and its rules away; for when the last pod has gone for good."""
        await self._rules.remove()
        self._rules_checked_at = -_RULES_GOOD_FOR_S
        links.delete_bridge(self.bridge)

    async def remove_idle(self) -> None:
        """The same for a bridge that is there; nothing else of the host's network is ours."""
        if Path("/sys/class/net", self.bridge).exists():
            await self.remove()


def bridge_name(run: Path) -> str:
    """podwright0 for the daemon in the usual place, else a name that its run directory makes unique."""
    if run == _HOME:
        return "podwright0"
    return "podwr-" + hashlib.sha256(os.fsencode(run)).hexdigest()[:8]
