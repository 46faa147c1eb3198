"""Host ports as nftables rules, in the words of nft(8). Pure.

One table a daemon, which nobody else has a reason to touch. Which port goes where stands in maps; the rules look it up
and never change, so that opening a port is one transaction of a few elements, whatever else is in the kernel.

    new connection to an address of this host ──► ports: where the maps say so, DNAT to the pod
    …whose source the pod would answer without us ──► postrouting: masquerade

The second is for `near`: a neighbour on the pod's bridge or the pod itself, whose answers would go straight to it from
an address it never spoke to, and this host's loopback addresses, which no answer can be sent to. It must not
touch what kube-proxy sent to the same pod: so the address that was asked first has to be one of this host's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from podwright.network.base import Forward

_LOOPBACK = "127.0.0.0/8"

# `localnet` holds links whose route_localnet we switched on for 127.0.0.1:PORT. The guard takes back what that gives
# away: without it a pod could reach whatever listens on the host's loopback (CVE-2020-8558).
_TABLE = """\
set localnet {{
  type ifname
}}
chain ports {{
  ip6 daddr ::1 return
{ports}}}
chain prerouting {{
  type nat hook prerouting priority dstnat; policy accept;
  fib daddr type local jump ports
}}
chain output {{
  type nat hook output priority -100; policy accept;
  fib daddr type local jump ports
}}
chain postrouting {{
  type nat hook postrouting priority srcnat; policy accept;
{postrouting}}}
chain guard {{
  type filter hook prerouting priority raw; policy accept;
  iifname @localnet ip daddr 127.0.0.0/8 drop
}}
"""
_SETS = """\
map ports{family} {{
  type inet_proto . inet_service : ipv{family}_addr . inet_service
}}
map ports{family}_at {{
  type ipv{family}_addr . inet_proto . inet_service : ipv{family}_addr . inet_service
}}
set near{family} {{
  type ipv{family}_addr . ipv{family}_addr
  flags interval
}}
set asked{family} {{
  type ipv{family}_addr
  size 65535
  flags dynamic,timeout
  timeout 1m
}}
"""
_PORTS = """\
  meta nfproto ipv{family} update @asked{family} {{ {ip} daddr }}
  meta nfproto ipv{family} dnat {ip} to {ip} daddr . meta l4proto . th dport map @ports{family}_at
  meta nfproto ipv{family} dnat {ip} to meta l4proto . th dport map @ports{family}
"""
_POSTROUTING = """\
  ct status dnat ct original {ip} daddr @asked{family} {ip} saddr . {ip} daddr @near{family} masquerade
"""


def table(name: str, forwards: Iterable[Forward], devices: Iterable[str]) -> str:
    """Commands that put the whole table in place of the one that is there, in one transaction."""
    ports, postrouting, sets = (
        "".join(text.format(family=family, ip=ip) for family, ip in (("4", "ip"), ("6", "ip6")))
        for text in (_PORTS, _POSTROUTING, _SETS)
    )
    body = sets + _TABLE.format(ports=ports, postrouting=postrouting)
    return f"{removal(name)}table inet {name} {{\n{body}}}\n{elements(name, 'add', forwards, devices)}"


def removal(name: str) -> str:
    """Commands that take the table away. Declared first, since deleting what isn't there is an error."""
    return f"table inet {name}\ndelete table inet {name}\n"


def elements(name: str, verb: str, forwards: Iterable[Forward], devices: Iterable[str]) -> str:
    """Commands that add or delete the forwards and devices of a pod."""
    found = [element for forward in forwards for element in _elements(forward)]
    found += [("localnet", f'"{device}"', "") for device in devices]
    return "".join(
        f"{verb} element inet {name} {where} {{ {key}{f' : {value}' if value and verb == 'add' else ''} }}\n"
        for where, key, value in dict.fromkeys(found)  # of several ports of one pod the same, once
    )


def _elements(forward: Forward) -> Iterator[tuple[str, str, str]]:
    """(set, key, value)"""
    family = ipaddress.ip_address(forward.address).version
    key = f"{forward.protocol} . {forward.host_port}"
    value = f"{forward.address} . {forward.port}"
    if forward.host_ip:
        yield f"ports{family}_at", f"{forward.host_ip} . {key}", value
    else:
        yield f"ports{family}", key, value
    for source in (forward.near, *([_LOOPBACK] if family == 4 else [])):
        yield f"near{family}", f"{source} . {forward.address}", ""
