"""The pods' network, one configuration for all peers: bridge, host-local and portmap, as a small node would have it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import programs
from bench.workspace import Workspace

BRIDGE = "pwbench0"
SUBNET = "10.231.0.0/16"
NETWORK = "podwright-bench"
_IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
PLUGIN_DIRECTORIES = (Path("/opt/cni/bin"), Path("/usr/lib/cni"))


def plugin_directory() -> Path:
    """The first directory that holds the bridge plugin."""
    for directory in PLUGIN_DIRECTORIES:
        if (directory / "bridge").exists():
            return directory
    raise programs.ProgramError("no CNI plugins found: apt-get install containernetworking-plugins")


@dataclass(frozen=True)
class Network:
    """One CNI network for all. Masquerading is what nodes have; the plugin spends half its time on it (iptables)."""

    workspace: Workspace
    masquerade: bool = True

    def conflist(self) -> dict[str, Any]:
        """The network configuration list; leases live in the scratch directory and go with it."""
        leases = str(self.workspace.scratch / "leases")
        routes = [{"dst": "0.0.0.0/0"}]
        ipam = {"type": "host-local", "ranges": [[{"subnet": SUBNET}]], "routes": routes, "dataDir": leases}
        bridge = {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "ipMasq": self.masquerade, "ipam": ipam}
        portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
        return {"cniVersion": "0.4.0", "name": NETWORK, "plugins": [bridge, portmap]}

    def invoke(self, command: str, container: str, netns: str) -> None:
        """Run the plugins as the CNI specification says, section 'Container network interface operations'."""
        directory, conflist = plugin_directory(), self.conflist()
        plugins = conflist["plugins"] if command == "ADD" else reversed(conflist["plugins"])
        result: Any = None
        for plugin in plugins:
            config = {**plugin, "cniVersion": conflist["cniVersion"], "name": conflist["name"]}
            if result is not None:
                config["prevResult"] = result
            environment = {
                "CNI_COMMAND": command,
                "CNI_CONTAINERID": container,
                "CNI_NETNS": netns,
                "CNI_IFNAME": "eth0",
                "CNI_PATH": str(directory),
            }
            said = programs.run(directory / plugin["type"], stdin=json.dumps(config).encode(), env=environment)
            result = json.loads(said) if command == "ADD" else None

    def _take_down(self) -> None:
        """Delete what a daemon that was stopped halfway didn't: its addresses and rules, by the leases; the bridge."""
        for lease in (self.workspace.scratch / "leases" / NETWORK).glob("*.*.*.*"):
            self.invoke("DEL", lease.read_text().split()[0], "")
        if Path("/sys/class/net", BRIDGE).exists():
            programs.run(programs.find("ip"), "link", "delete", BRIDGE)

    @contextmanager
    def configured(self) -> Iterator[None]:
        """The configuration where the peers look for it; at the end no bridge, and forwarding as it was found."""
        forwarding = _IP_FORWARD.read_text()
        (self.workspace.cni_conf / "10-bench.conflist").write_text(json.dumps(self.conflist(), indent=2))
        try:
            yield
        finally:
            self._take_down()
            _IP_FORWARD.write_text(forwarding)
