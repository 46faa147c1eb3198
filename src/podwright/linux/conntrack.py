"""Forgetting tracked UDP flows, so that the next packet of a flow meets today's rules and not those of its first.

A flow's address translation is decided once, when its first packet comes. A UDP flow that never pauses (a resolver's,
a syslog sender's) would go on to where its port led before, for ever. linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from podwright.linux.netlink import NETFILTER, Netlink, attribute, attributes, nested

_GET, _DELETE = 0x0101, 0x0102  # NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_*
_NFGENMSG = struct.Struct("=BBH")  # family, version, res_id
_TUPLE_ORIG, _TUPLE_REPLY, _ID, _FILTER = 1, 2, 12, 25
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_PROTO_NUM, _PROTO_DST_PORT = 1, 3
_FILTER_ORIG_FLAGS, _BY_PROTOCOL, _BY_DESTINATION_PORT = 1, 1 << 3, 1 << 5
_IP_SRC = {socket.AF_INET: 1, socket.AF_INET6: 3}
_IP_DST = {socket.AF_INET: 2, socket.AF_INET6: 4}


@dataclass(frozen=True)
class Flow:
    """A tracked flow: where its first packet was sent to, and who answers."""

    destination: str
    answered_by: str


def forget_udp(family: socket.AddressFamily, port: int, which: Callable[[Flow], bool]) -> int:
    """Forget those UDP flows to `port` that `which` picks; gives their number.

    Blocks for a walk over the whole table, 10 to 20 ms. Raises OSError where the kernel tracks nothing or is older
    than 5.8, which can't filter.
    """
    with Netlink(NETFILTER) as netlink:
        chosen = [name for flow, name in _flows(netlink, family, port) if which(flow)]
        return sum(_forget(netlink, name) for name in chosen)


def _flows(netlink: Netlink, family: socket.AddressFamily, port: int) -> Iterator[tuple[Flow, bytes]]:
    """Each flow with the message that names it."""
    wanted = nested(
        _TUPLE_PROTO,
        attribute(_PROTO_NUM, bytes([socket.IPPROTO_UDP])),
        attribute(_PROTO_DST_PORT, port.to_bytes(2, "big")),
    )
    by = attribute(_FILTER_ORIG_FLAGS, struct.pack("=I", _BY_PROTOCOL | _BY_DESTINATION_PORT))
    header = _NFGENMSG.pack(family, 0, 0)
    for answer in netlink.dump(_GET, header + nested(_TUPLE_ORIG, wanted) + nested(_FILTER, by)):
        found = attributes(answer[_NFGENMSG.size :])
        first, reply = (attributes(attributes(found[way])[_TUPLE_IP]) for way in (_TUPLE_ORIG, _TUPLE_REPLY))
        flow = Flow(_text(first[_IP_DST[family]]), _text(reply[_IP_SRC[family]]))
        yield flow, header + nested(_TUPLE_ORIG, found[_TUPLE_ORIG]) + attribute(_ID, found[_ID])


def _forget(netlink: Netlink, name: bytes) -> bool:
    try:
        netlink.ask(_DELETE, name)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        return False  # it ended by itself
    return True


def _text(address: bytes) -> str:
    return str(ipaddress.ip_address(address))
