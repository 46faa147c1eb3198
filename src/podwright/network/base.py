"""What a pod network is: the request, the result worth storing, and the protocol with its life cycle.

`sandbox/` calls it and stores the result; `network/cni.py` implements it. Nothing here knows the CRI's messages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from podwright.base.errors import Unavailable

INTERFACE = "eth0"


_LINK_NAME = re.compile(r"(?!\.{1,2}\Z)[!-.0-9;-~]{1,15}\Z")


def _link_name(name: str) -> str:
    """The name, which has to be one by the kernel's rule. net/core/dev.c, dev_valid_name. Raises ValueError."""
    if not _LINK_NAME.match(name):
        raise ValueError(f"must be a network interface's name of at most 15 characters, not {name!r}")
    return name


@dataclass(frozen=True)
class Settings:
    """`[network]`"""

    conf_dir: Path = field(
        default=Path("/etc/cni/net.d"),
        metadata={"help": "CNI configuration: the first valid *.conflist, *.conf or *.json by name. Read live."},
    )
    plugin_dirs: tuple[str, ...] = field(
        default=("/opt/cni/bin", "/usr/lib/cni"),
        metadata={"help": "Where CNI plugins are looked for, in order."},
    )
    default_network: Literal["bridge", "none"] = field(
        default="bridge",
        metadata={
            "help": "What pods get while conf_dir holds no configuration: the built-in bridge network, "
            "or none\n(then the node's network is not ready until a configuration appears)."
        },
    )
    default_subnet: str = field(
        default="10.85.0.0/16",
        metadata={"help": "The built-in bridge network's subnet; another private one if a host route overlaps it."},
    )
    default_subnet6: str = field(
        default="auto",
        metadata={
            "help": "The built-in bridge network's IPv6 subnet; auto: a unique local one of the daemon's own, "
            "if the host has IPv6;\nempty: none."
        },
    )
    use_pod_cidr: bool = field(
        default=True,
        metadata={"help": "Let the built-in bridge network take the pod CIDR that the kubelet tells."},
    )
    default_bridge: str = field(
        default="",
        metadata={
            "help": "The built-in network's bridge; empty: podwright0, or a name of its own "
            "for a daemon with another run directory.",
            "check": lambda text: text and _link_name(text),
        },
    )
    plugin_timeout_s: float = field(
        default=60.0, metadata={"help": "How long one run of a CNI plugin may take, in seconds.", "above": 0}
    )
    status_interval_s: float = field(
        default=10.0, metadata={"help": "How long the answer of the plugins' STATUS is good for, in seconds.", "min": 0}
    )


class NetworkNotReady(Unavailable):
    """There is no usable network configuration now. Pods on the host's network don't need one."""


@dataclass(frozen=True)
class PortMapping:
    """One container port; `host_port` 0 asks for none. `protocol` is tcp, udp or sctp."""

    protocol: str
    container_port: int
    host_port: int = 0
    host_ip: str = ""


@dataclass(frozen=True)
class PodDns:
    """The pod's resolver configuration, for plugins that want to know it."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bandwidth:
    """Limits in bits per second; 0: no limit."""

    ingress_bps: int = 0
    egress_bps: int = 0


@dataclass(frozen=True)
class PodNetwork:
    """A pod that wants a network. `netns` None: its namespace is gone (only good for `delete`). `conf_dir`: where the
    CNI configuration is that it gets; None: the node's."""

    sandbox_id: str
    name: str
    namespace: str
    uid: str
    netns: Path | None
    port_mappings: tuple[PortMapping, ...] = ()
    dns: PodDns = PodDns()
    bandwidth: Bandwidth = Bandwidth()
    cgroup_path: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    conf_dir: Path | None = None


class Interface(msgspec.Struct, frozen=True, omit_defaults=True):
    """An interface that a plugin made; `sandbox` empty: on the host."""

    name: str
    mac: str = ""
    sandbox: str = ""


class Route(msgspec.Struct, frozen=True, omit_defaults=True):
    """`gw` empty: on the link."""

    dst: str
    gw: str = ""


class ResultDns(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the plugins say of name servers."""

    nameservers: tuple[str, ...] = ()
    domain: str = ""
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


class Executed(msgspec.Struct, frozen=True, omit_defaults=True):
    """What ADD ran, kept so that DEL and CHECK run the same whatever the files say by then."""

    network: str
    version: str
    plugins: tuple[dict[str, Any], ...]
    result: dict[str, Any]
    file: str = ""
    disable_check: bool = False
    disable_gc: bool = False


class Forward(msgspec.Struct, frozen=True, omit_defaults=True):
    """A host port that leads to a pod by rules of our own (host_ports.py). `host_ip` empty: at every address.

    `near`: the network whose hosts the pod would answer directly. `device`: the link that needs our leave to forward
    from 127.0.0.1.
    """

    protocol: str
    host_port: int
    address: str
    port: int
    host_ip: str = ""
    near: str = ""
    device: str = ""


class NetworkResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the pod got. `ips`: its addresses without prefix, in the plugins' order, the primary one first."""

    ips: tuple[str, ...]
    executed: Executed
    interfaces: tuple[Interface, ...] = ()
    routes: tuple[Route, ...] = ()
    dns: ResultDns = ResultDns()
    forwards: tuple[Forward, ...] = ()


@dataclass(frozen=True)
class NetworkStatus:
    """Whether pods can be networked now; else a CamelCase `reason` and a `message` that says how to mend it."""

    ready: bool
    reason: str = ""
    message: str = ""


class Network(Protocol):
    """Connects pods to a network.

    A pod's namespace is pinned first, with its loopback up. `add` connects it and returns a result, which the
    caller stores with the pod. Host ports are opened with it, by the plugins or else by rules of our own. From the
    moment `add` was called the pod may hold an address, whatever became of the call: so `delete` is due for every
    pod for which `add` was called, with the stored result where there is one. `delete` is idempotent and works when
    the namespace is gone, after a crash, and after the configuration changed. `gc` says which pods are attached, so
    that whatever belongs to others goes; it is run at start, after pods are known.

        pinned ──add──► connected ──check──► connected ──delete──► pinned
           ▲              │ add failed: deleted already, as far as it went
           └──────────────┘

    Calls for different pods may overlap; calls for one pod must not. `gc` waits for the others and holds them off.
    """

    @property
    def config_name(self) -> str:
        """The name of the network that `add` would use now; '' when there is none."""

    def require(self, pod: PodNetwork) -> None:
        """Raise what can be known before anything is made: NetworkNotReady, PluginMissing, InvalidArgument (ports)."""

    async def add(self, pod: PodNetwork) -> NetworkResult:
        """Connect the pod. Raises NetworkNotReady, PluginFailed, DeadlineExceeded; then nothing is left connected."""

    async def delete(self, pod: PodNetwork, result: NetworkResult | None) -> None:
        """Disconnect the pod; one that isn't connected is success. Raises like `add`: ask again later."""

    async def check(self, pod: PodNetwork, result: NetworkResult) -> None:
        """Raise PluginFailed if the pod's network is broken. Silent where the configuration can't be checked."""

    async def gc(self, attached: Mapping[str, NetworkResult | None]) -> None:
        """Keep what belongs to `attached`, the pods by id with their results, and drop the rest: what plugins hold for
        others in the current network and those of the results, and host ports. To be called once at start."""

    async def set_pod_cidrs(self, cidrs: Sequence[str]) -> None:
        """The node's pod subnets as the cluster gives them. Raises InvalidArgument for what isn't one."""

    async def status(self) -> NetworkStatus:
        """Whether `add` can work now. Answers at once from memory or small files, never waits for a slow plugin."""

    def describe(self) -> Mapping[str, object]:
        """The network that `add` would use now, for people: its name, file, plugins, and who maps host ports."""

    async def close(self) -> None:
        """End background work."""
