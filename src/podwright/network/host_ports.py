"""Host ports by rules of our own, for networks whose plugins don't map ports. `cni.py` calls it.

What is open is known from the pods' stored results: `restore` makes the kernel's table say exactly that, at start and
whenever somebody has flushed it, and every change in between is one small transaction.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from podwright.base.errors import FailedPrecondition, InvalidArgument, PodwrightError
from podwright.base.log import get_logger
from podwright.base.tasks import Tasks, in_thread, shielded
from podwright.linux import routes
from podwright.linux.nftables import Nftables, NftablesFailed
from podwright.network import host_port_rules as rules
from podwright.network.base import Forward, PortMapping
from podwright.network.results import Address

log = get_logger(__name__)

_HOME = Path("/run/podwright")
_LOOK_INTERVAL_S = 30.0
_SYSCTLS = Path("/proc/sys/net/ipv4/conf")
_LOOPBACK6 = ipaddress.IPv6Address("::1")
_ANY = ("", "0.0.0.0", "::")


class HostPorts:
    """The host ports of one daemon's pods, in an nftables table of its own."""

    def __init__(self, nftables: Nftables, table: str) -> None:
        self._nftables, self.table = nftables, table
        self._open: dict[str, tuple[Forward, ...]] = {}
        self._lock = asyncio.Lock()
        self._written = False
        self._tasks = Tasks("host ports")

    def require(self, mappings: Sequence[PortMapping]) -> None:
        """Raise FailedPrecondition where ports can't be opened on this machine, InvalidArgument where on none."""
        for mapping in mappings:
            if mapping.host_port and mapping.host_ip and ipaddress.ip_address(mapping.host_ip) == _LOOPBACK6:
                raise InvalidArgument(
                    f"host port {mapping.host_port} at ::1: the kernel forwards nothing from IPv6's loopback; "
                    "leave out the host IP, or use 127.0.0.1"
                )
        if not self._nftables.available:
            raise FailedPrecondition(
                "host ports: this network's plugins don't map them, and without libnftables Podwright can't either: "
                "install nftables, or add portmap to the CNI configuration"
            )

    async def open(self, sandbox_id: str, forwards: Sequence[Forward]) -> None:
        """Open a pod's ports; all or none. Raises NftablesFailed."""
        # A thread can't be stopped: an undo has to find what it did.
        await shielded(self._do_open(sandbox_id, tuple(forwards)), name="open host ports")

    async def _do_open(self, sandbox_id: str, forwards: tuple[Forward, ...]) -> None:
        async with self._lock:
            known = self._devices()
            self._open[sandbox_id] = forwards
            try:
                await self._change("add", forwards, self._devices() - known)
            except PodwrightError:
                del self._open[sandbox_id]
                raise
            self._set_localnet(self._devices() - known, "1")
        if len(self._tasks) == 0:
            self._tasks.start(self._look_after(), name="look after")

    async def close(self, sandbox_id: str) -> None:
        """Close a pod's ports; a pod without any is success. Raises NftablesFailed: ask again."""
        await shielded(self._do_close(sandbox_id), name="close host ports")

    async def _do_close(self, sandbox_id: str) -> None:
        async with self._lock:
            if sandbox_id not in self._open:
                return
            known = self._devices()
            forwards = self._open.pop(sandbox_id)
            unused = known - self._devices()
            self._set_localnet(unused, "0")
            try:
                await self._change("delete", forwards, unused)
            except PodwrightError:
                self._open[sandbox_id] = forwards
                raise

    async def restore(self, wanted: Mapping[str, Sequence[Forward]]) -> None:
        """Have exactly these ports open, whatever the kernel's table says; without any, no table. At start."""
        async with self._lock:
            self._open = {sandbox_id: tuple(forwards) for sandbox_id, forwards in wanted.items() if forwards}
            if self._open:
                await self._rewrite()
                self._set_localnet(self._devices(), "1")
                self._tasks.start(self._look_after(), name="look after")
            elif self._nftables.available:
                try:
                    await self._remove()
                except NftablesFailed as error:
                    log.debug("there are no nftables rules to take back", error=str(error))

    async def remove_idle(self) -> None:
        """Take the table away if no port is open."""
        async with self._lock:
            if self._written and not self._open:
                await self._remove()

    async def end(self) -> None:
        """End background work. Ports stay open."""
        await self._tasks.close()

    def _devices(self) -> set[str]:
        return {forward.device for forwards in self._open.values() for forward in forwards if forward.device}

    async def _change(self, verb: str, forwards: Sequence[Forward], devices: Collection[str]) -> None:
        """One small transaction; where that fails, the whole table is written as it should be."""
        if not self._written:
            await self._rewrite()
            return
        try:
            await in_thread(self._nftables.apply, rules.elements(self.table, verb, forwards, devices))
        except NftablesFailed as error:
            log.warning("the table of host ports is not as we left it; it is written anew", error=str(error))
            await self._rewrite()

    async def _rewrite(self) -> None:
        everything = [forward for forwards in self._open.values() for forward in forwards]
        await in_thread(self._nftables.apply, rules.table(self.table, everything, self._devices()))
        self._written = True

    async def _remove(self) -> None:
        await in_thread(self._nftables.apply, rules.removal(self.table))
        self._written = False

    async def _look_after(self) -> None:
        """Somebody may flush all rules: `systemctl reload nftables` does."""
        while True:
            await asyncio.sleep(_LOOK_INTERVAL_S)
            try:
                await self.check()
            except PodwrightError as error:
                log.warning("host ports can't be looked after", error=str(error))

    async def check(self) -> None:
        """Write the table anew if it is gone while ports are open."""
        async with self._lock:
            if not self._open:
                return
            try:
                await in_thread(self._nftables.apply, f"list chain inet {self.table} guard")
            except NftablesFailed:
                log.warning("somebody removed the table of host ports; it is written anew", table=self.table)
                await self._rewrite()

    def _set_localnet(self, devices: Collection[str], value: str) -> None:
        """Whether 127.0.0.1:PORT may be sent out by a link. A link that is gone needs nothing."""
        for device in devices:
            try:
                (_SYSCTLS / device / "route_localnet").write_text(value)
            except FileNotFoundError:
                continue

    def forwards(self, mappings: Sequence[PortMapping], addresses: Sequence[Address]) -> tuple[Forward, ...]:
        """What to open for a pod with these addresses: each port once a family, as far as its host IP is of it."""
        found = []
        for address in _first_of_each_family(addresses):
            device = self._device(address) if address.version == 4 else ""
            for mapping in mappings:
                host_ip = ipaddress.ip_address(mapping.host_ip) if mapping.host_ip else None
                if not mapping.host_port or (host_ip and host_ip.version != address.version):
                    continue
                found.append(
                    Forward(
                        mapping.protocol, mapping.host_port, str(address.ip), mapping.container_port,
                        host_ip="" if mapping.host_ip in _ANY else str(host_ip),
                        near=str(address.network), device=device,
                    )
                )  # fmt: skip
        return tuple(found)

    def _device(self, address: Address) -> str:
        """The link to a pod, if it takes our leave to send from 127.0.0.1 on it: not where somebody gave that."""
        try:
            device = routes.device_to(str(address.ip))
            granted = (_SYSCTLS / device / "route_localnet").read_text().strip() == "1"
        except OSError as error:
            log.warning("127.0.0.1 can't be forwarded to a pod", address=str(address), error=str(error))
            return ""
        return device if not granted or device in self._devices() else ""


def _first_of_each_family(addresses: Sequence[Address]) -> list[Address]:
    seen: dict[int, Address] = {}
    for address in addresses:
        seen.setdefault(address.version, address)
    return list(seen.values())


def table_name(run: Path) -> str:
    """A table's name that is the daemon's own."""
    if run == _HOME:
        return "podwright_host_ports"
    return f"podwright_{hashlib.sha256(os.fsencode(run)).hexdigest()[:8]}_host_ports"
