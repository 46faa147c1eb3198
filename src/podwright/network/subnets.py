"""Which subnets the built-in network hands out: the cluster's for this node, else private ones that are free here."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from podwright.base.errors import InvalidArgument
from podwright.base.files import write_plain
from podwright.base.log import get_logger
from podwright.network.base import Settings

log = get_logger(__name__)

ROUTE_TABLE = Path("/proc/net/route")
ADDRESSES6 = Path("/proc/net/if_inet6")
ROUTES6 = Path("/proc/net/ipv6_route")
DISABLE_IPV6 = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")
_MACHINE_ID = Path("/etc/machine-id")
_ROUTE_UP = 1
_GLOBAL = 0
_BY_ADVERTISEMENT = 0x00040000  # linux/ipv6_route.h, RTF_ADDRCONF

Subnet = ipaddress.IPv4Network
Subnet6 = ipaddress.IPv6Network


class Subnets:
    """The subnets of the bridge `bridge` of the daemon with the run directory `run`, IPv4 first.

    Those that the bridge has stay, whatever is wanted by now: pods live in them. A pod CIDR is kept
    below `run`, since the kubelet tells it once, and knows nothing of our restarts.
    """

    def __init__(self, settings: Settings, run: Path, bridge: str) -> None:
        self._wanted = _ipv4(settings.default_subnet)
        self._wanted6 = _ipv6(settings.default_subnet6, run)
        self._use_pod_cidr = settings.use_pod_cidr
        self._file = run / "pod-cidrs.json"
        self._bridge = bridge
        self._given = self._read() if self._use_pod_cidr else ()

    def current(self) -> tuple[Subnet | Subnet6, ...]:
        """At least one."""
        found = (
            _address_of(self._bridge) or self._wish(4) or (None if self._given else self._free()),
            _address6_of(self._bridge) or self._wish(6),
        )
        return tuple(subnet for subnet in found if subnet is not None)

    def _wish(self, version: int) -> Subnet | Subnet6 | None:
        if self._given:
            return next((subnet for subnet in self._given if subnet.version == version), None)
        return self._wanted6 if version == 6 and self._wanted6 and _host_has_ipv6() else None

    def set_pod_cidrs(self, cidrs: Sequence[str]) -> None:
        """What the kubelet tells. Raises InvalidArgument for what is no subnet or has no room for a pod."""
        given = tuple(sorted((_pod_cidr(text) for text in cidrs), key=lambda subnet: subnet.version))
        if not self._use_pod_cidr or given == self._given:
            return
        log.info("the cluster gives this node pod subnets", subnets=list(map(str, given)))
        write_plain(self._file, msgspec.json.encode(list(map(str, given))), mode=0o600)
        self._given = given
        if (current := self.current()) != given:
            log.warning(
                "the built-in bridge keeps its subnets until no pod is left and the daemon is restarted",
                bridge=self._bridge, subnets=list(map(str, current)),
            )  # fmt: skip

    def _read(self) -> tuple[Subnet | Subnet6, ...]:
        try:
            return tuple(_pod_cidr(text) for text in msgspec.json.decode(self._file.read_bytes(), type=list[str]))
        except FileNotFoundError:
            return ()
        except (msgspec.MsgspecError, InvalidArgument) as error:
            log.warning("the stored pod subnets can't be read", file=str(self._file), error=str(error))
            return ()

    def _free(self) -> Subnet:
        """One that no route of the host overlaps."""
        taken = [network for _, network in _routes() if network.prefixlen > 0]
        for candidate in _candidates(self._wanted):
            if not any(candidate.overlaps(network) for network in taken):
                return candidate
        log.warning("every private subnet overlaps a route of this host", using=str(self._wanted))
        return self._wanted


def _ipv4(text: str) -> Subnet:
    try:
        return Subnet(text, strict=False)
    except ValueError as error:
        raise InvalidArgument(
            f"{error}; an IPv4 subnet such as 10.85.0.0/16", field="network.default_subnet"
        ) from error


def _ipv6(text: str, run: Path) -> Subnet6 | None:
    if not text:
        return None
    if text == "auto":
        return _unique_local(run)
    try:
        return Subnet6(text, strict=False)
    except ValueError as error:
        raise InvalidArgument(
            f"{error}; auto, nothing, or an IPv6 subnet such as fd00:85::/64", field="network.default_subnet6"
        ) from error


def _unique_local(run: Path) -> Subnet6:
    """fd00::/8 and 40 bits that no other daemon is likely to have. RFC 4193, 3.2.2"""
    machine = _MACHINE_ID.read_bytes() if _MACHINE_ID.exists() else socket.gethostname().encode()
    bits = hashlib.sha256(machine + os.fsencode(run)).digest()[:5]
    return Subnet6((b"\xfd" + bits + b"\0" * 10, 64))


def _pod_cidr(text: str) -> Subnet | Subnet6:
    try:
        subnet = ipaddress.ip_network(text.strip())
    except ValueError as error:
        raise InvalidArgument(str(error), field="runtime_config.network_config.pod_cidr") from error
    if subnet.num_addresses < 4:
        raise InvalidArgument(f"{subnet} has no room for pods", field="runtime_config.network_config.pod_cidr")
    return subnet


def _candidates(first: Subnet) -> Iterator[Subnet]:
    yield first
    yield from (Subnet(f"10.{second}.0.0/16") for second in range(86, 128))
    yield from (Subnet(f"172.{second}.0.0/16") for second in range(20, 32))
    yield from (Subnet(f"192.168.{third}.0/24") for third in range(200, 250))


def _address_of(bridge: str) -> Subnet | None:
    return next((network for device, network in _routes() if device == bridge), None)


def _routes() -> Iterator[tuple[str, Subnet]]:
    """(device, destination) of the IPv4 routes of the host. proc_net(5), /proc/net/route: little-endian words."""
    for line in ROUTE_TABLE.read_text().splitlines()[1:]:
        words = line.split()
        if int(words[3], 16) & _ROUTE_UP:
            address, mask = (socket.inet_ntoa(struct.pack("=I", int(words[n], 16))) for n in (1, 7))
            yield words[0], Subnet(f"{address}/{mask}", strict=False)


def _address6_of(bridge: str) -> Subnet6 | None:
    """Of the addresses of global scope; proc_net(5), /proc/net/if_inet6."""
    for line in ADDRESSES6.read_text().splitlines() if ADDRESSES6.exists() else ():
        if line.endswith(f" {bridge}"):
            address, _, length, scope, *_ = line.split()
            if int(scope, 16) == _GLOBAL:
                return Subnet6((bytes.fromhex(address), int(length, 16)), strict=False)
    return None


def links_with_advertised_routes() -> set[str]:
    """Links with routes that a router has announced; proc_net(5), /proc/net/ipv6_route."""
    lines = ROUTES6.read_text().splitlines() if ROUTES6.exists() else []
    return {line.split()[9] for line in lines if int(line.split()[8], 16) & _BY_ADVERTISEMENT}


def _host_has_ipv6() -> bool:
    try:
        return DISABLE_IPV6.read_text().strip() == "0"
    except FileNotFoundError:
        return False
