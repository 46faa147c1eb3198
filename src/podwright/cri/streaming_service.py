"""Exec, Attach and PortForward of runtime.v1.RuntimeService: what can't be is refused before there is a URL."""

from __future__ import annotations

from podwright.backend.base import Backend
from podwright.cri import validate
from podwright.cri.validate import required
from podwright.criapi import api_pb2 as pb
from podwright.streaming.base import Attach, Exec, PortForward, Wanted
from podwright.streaming.server import StreamingServer


class StreamingService:
    """One method an RPC, by the RPC's name."""

    def __init__(self, backend: Backend, streaming: StreamingServer) -> None:
        self._backend, self._streaming = backend, streaming

    async def Exec(self, request: pb.ExecRequest) -> pb.ExecResponse:
        validate.command(request.cmd)
        wanted = _wanted(request)
        container_id = self._backend.container(required(request.container_id, "container_id")).id
        self._backend.require_exec(container_id)
        return pb.ExecResponse(url=self._streaming.url(Exec(container_id, tuple(request.cmd), wanted)))

    async def Attach(self, request: pb.AttachRequest) -> pb.AttachResponse:
        wanted = _wanted(request)
        container_id = self._backend.container(required(request.container_id, "container_id")).id
        self._backend.require_attach(container_id, terminal=wanted.terminal)
        return pb.AttachResponse(url=self._streaming.url(Attach(container_id, wanted)))

    async def PortForward(self, request: pb.PortForwardRequest) -> pb.PortForwardResponse:
        validate.ports(request.port)
        sandbox_id = self._backend.sandbox(required(request.pod_sandbox_id, "pod_sandbox_id")).id
        self._backend.require_port_forward(sandbox_id)
        return pb.PortForwardResponse(url=self._streaming.url(PortForward(sandbox_id, tuple(request.port))))


def _wanted(request: pb.ExecRequest | pb.AttachRequest) -> Wanted:
    validate.streams(request)
    return Wanted(stdin=request.stdin, stdout=request.stdout, stderr=request.stderr, terminal=request.tty)
