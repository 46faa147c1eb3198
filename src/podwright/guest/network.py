"""The machine's addresses, routes and neighbours, as the host read them from the pod's network namespace. rtnetlink(7).

Everything replaces what is there, so that the same request twice is success. The order of routes is found by trying:
one whose gateway isn't reachable yet comes again after the others.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

from podwright.guest.failures import INVALID, Failure
from podwright.guest.fields import Object, get, objects, strings
from podwright.guest.kernel_files import read
from podwright.guest.machine import use_host_name, use_sysctls
from podwright.linux.links import set_up
from podwright.linux.netlink import CREATE, REPLACE, ROUTE, Netlink, attribute, nested

_RTM_NEWADDR, _RTM_NEWROUTE, _RTM_NEWNEIGH, _RTM_SETLINK = 20, 24, 28, 19
_IFLA_IFNAME, _IFLA_MTU, _IFA_ADDRESS, _IFA_LOCAL = 3, 4, 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_PREFSRC, _RTA_METRICS = 1, 4, 5, 6, 7, 8
_RTAX_MTU, _RTNH_F_ONLINK, _RTPROT_STATIC = 2, 4, 4
_NDA_DST, _NDA_LLADDR, _NUD_PERMANENT = 1, 2, 0x80
_IFA_F_NODAD, _MAIN_TABLE, _UNICAST = 0x02, 254, 1
_SCOPE_UNIVERSE, _SCOPE_LINK = 0, 253
_LINK_LOCAL = (bytes([169, 254]), bytes([0xFE, 0x80]))
_IFINFOMSG = struct.Struct("=BxHiII")
_IFADDRMSG = struct.Struct("=BBBBI")
_RTMSG = struct.Struct("=BBBBBBBBI")
_NDMSG = struct.Struct("=BxxxiHBB")
_NAME_LIMIT = 15
_LINKS = "/sys/class/net"

_UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EINVAL)


def configure(request: Object) -> Object:
    """The verb `network`."""
    use_host_name(get(request, "hostname", str, ""))
    use_sysctls({key: str(value) for key, value in get(request, "sysctls", dict, {}).items()})
    with Netlink(ROUTE) as netlink:
        for at, interface in enumerate(objects(request, "interfaces")):
            _configure_interface(netlink, interface, f"interfaces[{at}].")
        _add_routes(netlink, objects(request, "routes"))
        for at, neighbour in enumerate(objects(request, "neighbours")):
            _add_neighbour(netlink, neighbour, f"neighbours[{at}].")
    return {}


def _configure_interface(netlink: Netlink, interface: Object, within: str) -> None:
    mac, name = get(interface, "mac", str, within=within).lower(), get(interface, "name", str, within=within)
    if not 0 < len(name) <= _NAME_LIMIT or "/" in name:
        raise Failure(INVALID, f"{within}name: {name[:40]!r} can't be the name of an interface")
    found = next((link for link in os.listdir(_LINKS) if read(f"{_LINKS}/{link}/address").strip() == mac), None)
    if found is None:
        raise Failure(INVALID, f"{within}mac: the machine has no interface with the address {mac}")
    changes = b""
    if found != name:
        changes += attribute(_IFLA_IFNAME, name.encode() + b"\0")
    if mtu := get(interface, "mtu", int, 0, within=within):
        changes += attribute(_IFLA_MTU, struct.pack("=I", mtu))
    index = socket.if_nametoindex(found)
    if changes:
        netlink.ask(_RTM_SETLINK, _IFINFOMSG.pack(0, 0, index, 0, 0) + changes)
    for at, text in enumerate(strings(interface, "addresses", within=within)):
        _add_address(netlink, index, text, f"{within}addresses[{at}]")
    set_up(name)


def _add_address(netlink: Netlink, index: int, text: str, within: str) -> None:
    packed, prefix = _network(text, within)
    scope = _SCOPE_LINK if packed[:2] in _LINK_LOCAL else _SCOPE_UNIVERSE
    header = _IFADDRMSG.pack(_family(packed), prefix, _IFA_F_NODAD, scope, index)
    netlink.ask(
        _RTM_NEWADDR, header + attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed), CREATE | REPLACE
    )


def _add_routes(netlink: Netlink, routes: list[Object]) -> None:
    left = list(enumerate(routes))
    while left:
        again: list[tuple[int, Object]] = []
        failed: OSError | None = None
        for at, route in left:
            try:
                _add_route(netlink, route, f"routes[{at}].")
            except OSError as error:
                if error.errno not in _UNREACHABLE:
                    raise Failure(INVALID, f"routes[{at}]: {error.strerror}") from None
                failed = error
                again.append((at, route))
        if len(again) == len(left) and failed is not None:
            raise Failure(INVALID, f"routes[{again[0][0]}]: {failed.strerror}")
        left = again


def _add_route(netlink: Netlink, route: Object, within: str) -> None:
    destination, prefix = _network(get(route, "destination", str, within=within), f"{within}destination")
    family = _family(destination)
    gateway = _address(route, "gateway", within)
    source = _address(route, "source", within)
    scope = _SCOPE_LINK if not gateway and family == socket.AF_INET else _SCOPE_UNIVERSE
    flags = _RTNH_F_ONLINK if get(route, "onlink", bool, False, within=within) else 0
    body = _RTMSG.pack(family, prefix, 0, 0, _MAIN_TABLE, _RTPROT_STATIC, scope, _UNICAST, flags)
    body += attribute(_RTA_OIF, struct.pack("=I", _index(route, within)))
    if prefix:
        body += attribute(_RTA_DST, destination)
    if gateway:
        body += attribute(_RTA_GATEWAY, gateway)
    if source:
        body += attribute(_RTA_PREFSRC, source)
    if metric := get(route, "metric", int, 0, within=within):
        body += attribute(_RTA_PRIORITY, struct.pack("=I", metric))
    if mtu := get(route, "mtu", int, 0, within=within):
        body += nested(_RTA_METRICS, attribute(_RTAX_MTU, struct.pack("=I", mtu)))
    netlink.ask(_RTM_NEWROUTE, body, CREATE | REPLACE)


def _add_neighbour(netlink: Netlink, neighbour: Object, within: str) -> None:
    address = _address(neighbour, "address", within)
    mac = get(neighbour, "mac", str, within=within)
    try:
        lladdr = bytes.fromhex(mac.replace(":", ""))
    except ValueError:
        raise Failure(INVALID, f"{within}mac: {mac[:40]!r} is no hardware address") from None
    if not address:
        raise Failure(INVALID, f"{within}address: is missing")
    header = _NDMSG.pack(_family(address), _index(neighbour, within), _NUD_PERMANENT, 0, 0)
    netlink.ask(_RTM_NEWNEIGH, header + attribute(_NDA_DST, address) + attribute(_NDA_LLADDR, lladdr), CREATE | REPLACE)


def _network(text: str, within: str) -> tuple[bytes, int]:
    """ADDRESS/PREFIX. ipaddress has all of it, and takes as long to load as the rest of this room."""
    address, _, prefix = text.partition("/")
    packed = _packed(address, within)
    bits = len(packed) * 8
    if not (prefix.isdigit() and int(prefix) <= bits):
        raise Failure(INVALID, f"{within}: {text[:60]!r} is not an address with a prefix length up to {bits}")
    return packed, int(prefix)


def _address(source: Object, key: str, within: str) -> bytes:
    """b"" when there is none."""
    text = get(source, key, str, "", within=within)
    return _packed(text, f"{within}{key}") if text else b""


def _packed(text: str, within: str) -> bytes:
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except OSError:
        raise Failure(INVALID, f"{within}: {text[:60]!r} is no IP address") from None


def _index(source: Object, within: str) -> int:
    name = get(source, "interface", str, within=within)
    try:
        return socket.if_nametoindex(name)
    except OSError:
        raise Failure(INVALID, f"{within}interface: the machine has no {name[:40]!r}") from None


def _family(address: bytes) -> int:
    return socket.AF_INET if len(address) == 4 else socket.AF_INET6
