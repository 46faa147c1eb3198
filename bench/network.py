"""The pods' network, one configuration for all peers: bridge, host-local and portmap, as a small node would have it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
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


def conflist(workspace: Workspace) -> dict[str, Any]:
    """The network configuration list; leases live in the scratch directory and go with it."""
    ranges = [[{"subnet": SUBNET}]]
    leases = str(workspace.scratch / "leases")
    ipam = {"type": "host-local", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}], "dataDir": leases}
    bridge = {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "ipMasq": True, "ipam": ipam}
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": NETWORK, "plugins": [bridge, portmap]}


@contextmanager
def pod_network(workspace: Workspace) -> Iterator[None]:
    """The configuration where the peers look for it; at the end no bridge, and forwarding as it was found."""
    forwarding = _IP_FORWARD.read_text()
    (workspace.cni_conf / "10-bench.conflist").write_text(json.dumps(conflist(workspace), indent=2))
    try:
        yield
    finally:
        if Path("/sys/class/net", BRIDGE).exists():
            programs.run(programs.find("ip"), "link", "delete", BRIDGE)
        _IP_FORWARD.write_text(forwarding)
