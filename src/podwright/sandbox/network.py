"""A pod's place in the network: what CNI is asked for, and giving it back."""

from __future__ import annotations

import time

from podwright.criapi import api_pb2 as pb
from podwright.network.base import PodDns, PodNetwork, PortMapping
from podwright.network.capabilities import bandwidth
from podwright.sandbox.collaborators import PodParts
from podwright.sandbox.model import Sandbox

_PROTOCOLS = {pb.TCP: "tcp", pb.UDP: "udp", pb.SCTP: "sctp"}


def network_request(on: PodParts, sandbox: Sandbox, *, netns_exists: bool) -> PodNetwork:
    """What the network room needs to know. Ports without a host port are not mapped."""
    config = sandbox.config
    return PodNetwork(
        sandbox_id=sandbox.id,
        name=config.metadata.name,
        namespace=config.metadata.namespace,
        uid=config.metadata.uid,
        netns=on.layout.namespace(sandbox.id, "net") if netns_exists else None,
        port_mappings=tuple(
            PortMapping(
                protocol=_PROTOCOLS[mapping.protocol], container_port=mapping.container_port,
                host_port=mapping.host_port, host_ip=mapping.host_ip,
            )
            for mapping in config.port_mappings
            if mapping.host_port > 0
        ),
        dns=PodDns(
            servers=tuple(config.dns_config.servers),
            searches=tuple(config.dns_config.searches),
            options=tuple(config.dns_config.options),
        ),
        bandwidth=bandwidth(config.annotations),
        cgroup_path=on.cgroups.kernel_path(sandbox.record.cgroup_parent) if sandbox.record.cgroup_parent else "",
        annotations=dict(config.annotations),
        conf_dir=on.handlers.cni_conf_dir(sandbox.record.handler),
    )  # fmt: skip


async def join_network(on: PodParts, sandbox: Sandbox) -> None:
    """CNI ADD; the result is stored before the pod is told to exist, so that a restart knows its addresses."""
    request = network_request(on, sandbox, netns_exists=True)
    on.network.require(request)
    # From here on the pod may hold an address, whatever becomes of the call: a DEL is due.
    on.sandboxes.update(sandbox.id, network_asked_at=time.time_ns())
    result = await on.network.add(request)
    on.sandboxes.update(sandbox.id, network=result)


async def leave_network(on: PodParts, sandbox: Sandbox) -> None:
    """CNI DEL, once; also with the namespace gone (after a reboot), because addresses are leased on disk."""
    record = sandbox.record
    if not record.network_asked_at or record.network_released_at:
        return
    netns_exists = on.layout.namespace(sandbox.id, "net").exists()
    await on.network.delete(network_request(on, sandbox, netns_exists=netns_exists), record.network)
    on.sandboxes.update(sandbox.id, network_released_at=time.time_ns())
