"""`podwright pods`: the pods of the runtime, with their addresses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import grpc
import typer

from podwright.cli import output
from podwright.cli.client import QUICK_S, Client, connect, is_code
from podwright.cli.lookup import list_pods
from podwright.cli.options import Format, Output, Socket
from podwright.criapi import api_pb2 as pb


def pods(
    ctx: typer.Context,
    *,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print whole ids and nothing else.")] = False,
    output_format: Output = Format.TABLE,
    socket: Socket = None,
) -> None:
    """List pods."""
    with connect(ctx, socket) as client:
        found = list_pods(client)
        if output_format is Format.JSON:
            output.print_json(output.as_dict(pb.ListPodSandboxResponse(items=found)))
        elif quiet:
            for pod in found:
                output.print_line(pod.id)
        else:
            output.print_table(
                ["POD ID", "NAME", "NAMESPACE", "STATE", "IP", "CREATED", "RUNTIME"],
                [row(pod, address(client, pod)) for pod in found],
                states=["STATE"],
            )


def row(pod: pb.PodSandbox, ip: str) -> Sequence[str]:
    """A pod's line of the table."""
    state = pb.PodSandboxState.Name(pod.state).removeprefix("SANDBOX_").lower()
    return (
        output.short_id(pod.id), pod.metadata.name, pod.metadata.namespace, state, ip,
        output.age(pod.created_at), pod.runtime_handler or "(default)",
    )  # fmt: skip


def address(client: Client, pod: pb.PodSandbox) -> str:
    """The pod's first address; empty on the host network, and for a pod that went away meanwhile."""
    if pod.state != pb.SANDBOX_READY:
        return ""
    try:
        answer = client.runtime.PodSandboxStatus(pb.PodSandboxStatusRequest(pod_sandbox_id=pod.id), timeout=QUICK_S)
    except grpc.RpcError as error:
        if is_code(error, grpc.StatusCode.NOT_FOUND):
            return ""
        raise
    return answer.status.network.ip
