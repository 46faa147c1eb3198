"""What a pod's network namespace has: links, addresses, routes and neighbours, as the machine is to have them.

CNI plugins have set them up; `ip` (iproute2) reads them. Loopback is the machine's own affair, and what the kernel
derives from addresses it will derive there as well.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from podwright.base.errors import FailedPrecondition
from podwright.linux.process import run

_TIMEOUT_S = 20.0
_DEFAULT = {"inet": "0.0.0.0/0", "inet6": "::/0"}


class Address(msgspec.Struct, rename={"address": "local", "prefix": "prefixlen"}):
    """One of `ip -j address`."""

    family: str
    address: str
    prefix: int
    scope: str = "global"


class _Link(msgspec.Struct):
    """One link of `ip -j address`; without a name where `ip` left one out."""

    ifname: str = ""
    mtu: int = 1500
    link_type: str = ""
    address: str = ""
    addr_info: list[Address] = []


class _Route(msgspec.Struct):
    """One of `ip -j route`."""

    dst: str
    dev: str = ""
    gateway: str = ""
    protocol: str = ""
    scope: str = ""
    prefsrc: str = ""
    metric: int = 0
    type: str = ""
    flags: list[str] = []
    metrics: list[dict[str, Any]] = []


class _Neighbour(msgspec.Struct):
    """One of `ip -j neighbour`."""

    dst: str
    dev: str = ""
    lladdr: str = ""


class Interface(msgspec.Struct, frozen=True):
    """An Ethernet link of the pod's. `addresses` with their prefix lengths."""

    mac: str
    name: str
    mtu: int
    addresses: tuple[str, ...] = ()


class Route(msgspec.Struct, frozen=True, omit_defaults=True):
    """A route that no address implies."""

    destination: str
    interface: str
    gateway: str = ""
    source: str = ""
    onlink: bool = False
    metric: int = 0
    scope: str = ""


class Neighbour(msgspec.Struct, frozen=True):
    """A permanent entry of the neighbour table."""

    address: str
    mac: str
    interface: str


class PodNetwork(msgspec.Struct, frozen=True):
    """All of it, in the attributes of the agent's `network` request."""

    interfaces: tuple[Interface, ...] = ()
    routes: tuple[Route, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()


async def read_network(netns: Path) -> PodNetwork:
    """What the network namespace pinned at `netns` has. Raises FailedPrecondition for a link that is no Ethernet."""
    links = msgspec.json.decode(await _ip(netns, "address", "show", "up"), type=list[_Link])
    routes = {
        family: msgspec.json.decode(await _ip(netns, option, "route", "show"), type=list[_Route])
        for family, option in (("inet", "-4"), ("inet6", "-6"))
    }
    neighbours = msgspec.json.decode(await _ip(netns, "neighbour", "show", "nud", "permanent"), type=list[_Neighbour])
    return pod_network(links, routes, neighbours)


def pod_network(links: list[_Link], routes: dict[str, list[_Route]], neighbours: list[_Neighbour]) -> PodNetwork:
    """Pure. Link-local IPv6 addresses are left out: the machine makes the same, from the same MAC."""
    interfaces = []
    for link in links:
        if not link.ifname or link.link_type == "loopback":
            continue
        if link.link_type != "ether":
            raise FailedPrecondition(
                f"link {link.ifname} of the pod's network is of type {link.link_type}: a virtual machine can have "
                "Ethernet links only (bridge, ptp, macvlan plugins)"
            )
        addresses = tuple(f"{a.address}/{a.prefix}" for a in link.addr_info if a.scope != "link" or a.family == "inet")
        interfaces.append(Interface(link.address, link.ifname, link.mtu, addresses))
    names = {interface.name for interface in interfaces}
    return PodNetwork(
        tuple(interfaces),
        tuple(
            _route(route, family)
            for family, listed in routes.items()
            for route in listed
            if route.dev in names and route.protocol not in ("kernel", "ra") and not route.type
        ),
        tuple(Neighbour(n.dst, n.lladdr, n.dev) for n in neighbours if n.dev in names and n.lladdr),
    )


def _route(route: _Route, family: str) -> Route:
    destination = _DEFAULT[family] if route.dst == "default" else route.dst
    if "/" not in destination:
        destination += "/32" if family == "inet" else "/128"
    return Route(
        destination, route.dev, gateway=route.gateway, source=route.prefsrc, onlink="onlink" in route.flags,
        metric=route.metric, scope="link" if route.scope == "link" else "",
    )  # fmt: skip


async def _ip(netns: Path, *words: str) -> bytes:
    done = await run(["nsenter", f"--net={netns}", "ip", "-j", *words], timeout_s=_TIMEOUT_S)
    return done.stdout.strip() or b"[]"
