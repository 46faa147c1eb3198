"""A network on a bridge of one test's own, pods in it, and what the host's firewall says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podwright.linux import links, process
from podwright.network import namespaces
from podwright.network.base import PodNetwork, Settings
from podwright.network.cni import CniNetwork
from tests.support import names


@dataclass
class Site:
    """A network on a bridge of this test's own, and pods in it."""

    directory: Path
    bridge: str
    name: str
    subnet: str
    default_network: str = "none"
    subnet6: str = ""

    def __post_init__(self) -> None:
        self.pods = 0
        for name in ("conf", "pods"):
            (self.directory / name).mkdir()
        self.ipam = self.directory / "ipam"

    def configure(self, *, portmap: bool = True, **bridge: Any) -> None:
        bridge_plugin = {
            "type": "bridge", "bridge": self.bridge, "isGateway": True, "hairpinMode": True,
            "ipam": {
                "type": "host-local", "dataDir": str(self.ipam),
                "ranges": [[{"subnet": subnet}] for subnet in (self.subnet, self.subnet6) if subnet],
                "routes": [{"dst": "0.0.0.0/0"}, *([{"dst": "::/0"}] if self.subnet6 else [])],
            },
            **bridge,
        }  # fmt: skip
        ports = [{"type": "portmap", "capabilities": {"portMappings": True}}] if portmap else []
        limits = {"type": "bandwidth", "capabilities": {"bandwidth": True}}
        content = {"cniVersion": "1.0.0", "name": self.name, "plugins": [bridge_plugin, *ports, limits]}
        (self.directory / "conf" / "10.conflist").write_text(json.dumps(content))

    def settings(self) -> Settings:
        return Settings(
            conf_dir=self.directory / "conf", default_network=self.default_network,  # type: ignore[arg-type]
            default_subnet=self.subnet, default_subnet6=self.subnet6 or "auto", default_bridge=self.bridge,
        )  # fmt: skip

    def network(self) -> CniNetwork:
        return CniNetwork(self.settings(), self.directory)

    async def pod(self, **changes: Any) -> PodNetwork:
        self.pods += 1
        netns = self.directory / "pods" / f"netns{self.pods}"
        await namespaces.pin({"net": netns})
        return PodNetwork(names.unique("id"), f"pod{self.pods}", "test", "uid", netns, **changes)

    async def close(self) -> None:
        """What is left of pods goes."""
        namespaces.unpin((self.directory / "pods").iterdir())
        links.delete_bridge(self.bridge)

    def leases(self) -> list[str]:
        return sorted(p.name for p in self.ipam.glob("*/*") if p.name[0].isdigit() or ":" in p.name)


async def rules(word: str) -> list[str]:
    tables = await process.run(["iptables-save"], timeout_s=10)
    nft = await process.run(["nft", "list", "ruleset"], timeout_s=10)
    return [line for line in (tables.stdout + nft.stdout).decode().splitlines() if word in line]
