"""Port-forward: connections to the ports of a pod that is ready."""

from __future__ import annotations

from podwright.base.errors import FailedPrecondition
from podwright.base.streams import Reader, Writer
from podwright.network import port_forward
from podwright.sandbox.collaborators import Collaborators
from podwright.sandbox.model import Sandbox


def require_forwardable(sandbox: Sandbox) -> None:
    """Raises FailedPrecondition unless the pod is ready."""
    if not sandbox.ready:
        raise FailedPrecondition(f"pod sandbox {sandbox.id[:13]} is not ready: its ports can't be forwarded")


async def forward_port(on: Collaborators, sandbox: Sandbox, port: int, *, incoming: Reader, outgoing: Writer) -> None:
    """One connection; raises what `require_forwardable` and the network's `forward_port` raise."""
    require_forwardable(sandbox)
    if on.handlers.runtime(sandbox.record.handler).own_kernel:
        # Its network stack is not the namespace's: it is reached from outside, by the pod's addresses.
        await port_forward.forward_port(None, port, incoming=incoming, outgoing=outgoing, addresses=sandbox.ips)
        return
    netns = None if sandbox.host_network else on.layout.namespace(sandbox.id, "net")
    await port_forward.forward_port(netns, port, incoming=incoming, outgoing=outgoing)
