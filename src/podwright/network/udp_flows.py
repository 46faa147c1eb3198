"""UDP flows that began under other rules: forgotten when a host port opens, and when its pod gives back its address.

Without the first a sender that never pauses would not find a new pod; without the second its packets would go to
whoever gets the old pod's address next. TCP ends by itself.
"""

from __future__ import annotations

import ipaddress
import itertools
import socket
from collections.abc import Callable, Collection

from podwright.base.log import get_logger
from podwright.base.tasks import in_thread
from podwright.linux.conntrack import Flow, forget_udp
from podwright.network.base import PodNetwork

log = get_logger(__name__)


async def forget_before(pod: PodNetwork, ips: Collection[str]) -> None:
    """Forget what came to the UDP host ports of a pod with these addresses while they led nowhere."""
    await _forget(pod, ips, lambda flow: flow.answered_by == flow.destination and _is_local(flow.destination))


async def forget_after(pod: PodNetwork, ips: Collection[str]) -> None:
    """Forget what the pod's UDP host ports led to its addresses."""
    await _forget(pod, ips, lambda flow: flow.answered_by in ips)


async def _forget(pod: PodNetwork, ips: Collection[str], which: Callable[[Flow], bool]) -> None:
    ports = {mapping.host_port for mapping in pod.port_mappings if mapping.protocol == "udp" and mapping.host_port}
    families = {_family(ip) for ip in ips}
    for family, port in itertools.product(families, ports):
        try:
            forgotten = await in_thread(forget_udp, family, port, which)
        except OSError as error:
            log.warning("UDP flows to a host port can't be forgotten", port=port, error=error.strerror)
        else:
            log.debug("UDP flows to a host port forgotten", port=port, flows=forgotten)


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET if ipaddress.ip_address(address).version == 4 else socket.AF_INET6


def _is_local(address: str) -> bool:
    """Whether it is an address of this host: only those can be bound to. ip(7)"""
    with socket.socket(_family(address), socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
