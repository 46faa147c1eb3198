"""Which way the kernel sends a packet. rtnetlink(7)."""

from __future__ import annotations

import ipaddress
import socket
import struct

from podwright.linux.netlink import ROUTE, Netlink, attribute, attributes

_RTM_GETROUTE = 26
_RTA_DST, _RTA_OIF = 1, 4
_RTMSG = struct.Struct("=BBBBBBBBI")  # struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags


def device_to(address: str) -> str:
    """The name of the link behind which `address` is. Raises OSError where there is no route to it."""
    parsed = ipaddress.ip_address(address)
    family = socket.AF_INET if parsed.version == 4 else socket.AF_INET6
    question = _RTMSG.pack(family, parsed.max_prefixlen, 0, 0, 0, 0, 0, 0, 0) + attribute(_RTA_DST, parsed.packed)
    with Netlink(ROUTE) as netlink:
        answer = attributes(netlink.ask(_RTM_GETROUTE, question)[_RTMSG.size :])
    (index,) = struct.unpack("=I", answer[_RTA_OIF])
    return socket.if_indextoname(index)
