"""Taps in a pod's network namespace, each joined to one of its links by redirection of all packets.

What comes in at the link goes out at the tap, to the machine, before the namespace's own network stack sees it; what
the machine sends goes out at the link. So the link may keep its addresses, and the host's counters of it stay true.
tc-mirred(8); Kata Containers calls this model tcfilter.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from podwright.linux import syscalls as sys
from podwright.linux.process import run
from podwright.vm.interfaces import Interface

_TUN = "/dev/net/tun"
_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
_IFREQ = struct.Struct("16sH22x")
_TIMEOUT_S = 20.0


def tap_name(number: int) -> str:
    """The tap of the pod's link `number`."""
    return f"podwright{number}"


def open_taps(netns: Path, count: int) -> list[int]:
    """Descriptors of `count` new taps, for QEMU; a tap is gone when its descriptor is closed."""
    taps: list[int] = []
    try:
        with _entered(netns):
            for number in range(count):
                tap = os.open(_TUN, os.O_RDWR | os.O_CLOEXEC)
                taps.append(tap)
                flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR
                fcntl.ioctl(tap, _TUNSETIFF, _IFREQ.pack(tap_name(number).encode(), flags))
    except BaseException:
        for tap in taps:
            os.close(tap)
        raise
    return taps


async def redirect(netns: Path, interfaces: Sequence[Interface]) -> None:
    """Join the taps to the links; redirections of an earlier machine are replaced."""
    links = "".join(f"link set dev {tap_name(at)} mtu {i.mtu} up\n" for at, i in enumerate(interfaces))
    await run(["nsenter", f"--net={netns}", "ip", "-batch", "-"], stdin=links.encode(), timeout_s=_TIMEOUT_S)
    await stop_redirecting(netns, interfaces)
    rules = "".join(rule for at, i in enumerate(interfaces) for rule in _rules(i.name, tap_name(at)))
    await run(["nsenter", f"--net={netns}", "tc", "-batch", "-"], stdin=rules.encode(), timeout_s=_TIMEOUT_S)


async def stop_redirecting(netns: Path, interfaces: Sequence[Interface]) -> None:
    """Idempotent; a namespace that is gone is success. What belongs to a tap has gone with it."""
    if not netns.exists():
        return
    rules = "".join(f"qdisc del dev {i.name} ingress\n" for i in interfaces)
    argv = ["nsenter", f"--net={netns}", "tc", "-force", "-batch", "-"]
    await run(argv, stdin=rules.encode(), timeout_s=_TIMEOUT_S, check=False)


def _rules(link: str, tap: str) -> Iterator[str]:
    for here, there in ((link, tap), (tap, link)):
        yield f"qdisc add dev {here} ingress\n"
        rule = f"filter add dev {here} parent ffff: protocol all u32 match u8 0 0"
        yield f"{rule} action mirred egress redirect dev {there}\n"


@contextmanager
def _entered(netns: Path) -> Iterator[None]:
    """The calling thread is in the network namespace meanwhile."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        wanted = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
        try:
            sys.setns(wanted, sys.CLONE_NEWNET)
        finally:
            os.close(wanted)
        try:
            yield
        finally:
            sys.setns(own, sys.CLONE_NEWNET)
    finally:
        os.close(own)
