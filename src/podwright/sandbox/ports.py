"""Host ports that pods compete for. The scheduler keeps them apart; static pods and people don't ask it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from podwright.base.errors import FailedPrecondition
from podwright.criapi import api_pb2 as pb
from podwright.sandbox.model import Sandbox, SandboxRecord
from podwright.state.boot import boot_id

_ANY = {"": (4, 6), "0.0.0.0": (4,), "::": (6,)}


def check_host_ports(config: pb.PodSandboxConfig, pods: Iterable[Sandbox]) -> None:
    """Refuse a port that another pod holds, before anything is made. Raises FailedPrecondition."""
    wanted = list(_mapped(config))
    if not wanted:
        return
    for pod in pods:
        for held in _mapped(pod.config) if _holds(pod.record) else ():
            for mapping in wanted:
                if _overlap(mapping, held):
                    metadata = pod.config.metadata
                    raise FailedPrecondition(
                        f"host port {_words(mapping)} is held by pod {metadata.namespace}/{metadata.name} "
                        f"({pod.id[:13]}, {'ready' if pod.ready else 'not removed from its network yet'})"
                    )


def _holds(record: SandboxRecord) -> bool:
    """A pod holds its ports until it has left the network, or the machine has rebooted."""
    if record.stopped_at and not record.network_asked_at:
        return False
    return not record.network_released_at and record.boot == boot_id()


def _mapped(config: pb.PodSandboxConfig) -> Iterator[pb.PortMapping]:
    if config.linux.security_context.namespace_options.network != pb.NODE:
        yield from (mapping for mapping in config.port_mappings if mapping.host_port > 0)


def _overlap(one: pb.PortMapping, other: pb.PortMapping) -> bool:
    return (one.protocol, one.host_port) == (other.protocol, other.host_port) and (
        one.host_ip == other.host_ip or _covers(one.host_ip, other.host_ip) or _covers(other.host_ip, one.host_ip)
    )


def _covers(wide: str, narrow: str) -> bool:
    """Whether an address that means any of its family, or any at all, includes the other."""
    families = _ANY.get(wide, ())
    return any(family in families for family in _ANY.get(narrow, (6 if ":" in narrow else 4,)))


def _words(mapping: pb.PortMapping) -> str:
    address = f"[{mapping.host_ip}]:" if ":" in mapping.host_ip else f"{mapping.host_ip}:" if mapping.host_ip else ""
    return f"{address}{mapping.host_port}/{pb.Protocol.Name(mapping.protocol).lower()}"
