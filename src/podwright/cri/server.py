"""The gRPC server on its unix socket: registers each method of a service once, through the interceptors.

A method that no service object offers answers UNIMPLEMENTED from here, so that the list of what is missing is
the list of what isn't written.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from podwright.base.errors import FailedPrecondition, Unimplemented
from podwright.cri.interceptors import Interceptors
from podwright.cri.settings import Settings


class Server:
    """One grpc.aio server on one unix socket (mode 0660)."""

    def __init__(self, settings: Settings, interceptors: Interceptors) -> None:
        self._settings = settings
        self._interceptors = interceptors
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", settings.max_receive_bytes),
                ("grpc.max_send_message_length", settings.max_send_bytes),
                ("grpc.so_reuseport", 0),
            ]
        )

    def serve(self, descriptor: ServiceDescriptor, *parts: object) -> None:
        """Register all methods of a service. Each part has an `async def` by the name of each RPC that it offers."""
        handlers = {method.name: self._handler(method, parts) for method in descriptor.methods}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(descriptor.full_name, handlers),))

    def _handler(self, method: MethodDescriptor, parts: Sequence[object]) -> grpc.RpcMethodHandler[Any, Any]:
        request_type = message_factory.GetMessageClass(method.input_type)
        response_type = message_factory.GetMessageClass(method.output_type)
        offers: list[Callable[..., Any]] = [getattr(part, method.name) for part in parts if hasattr(part, method.name)]
        assert len(offers) < 2, f"{method.name} is offered twice"
        offered = offers[0] if offers else None
        if method.server_streaming and offered is not None:
            assert inspect.isasyncgenfunction(offered), f"{method.name} must be an async generator"
            return grpc.unary_stream_rpc_method_handler(
                self._interceptors.streaming(method.name, offered),
                request_deserializer=request_type.FromString, response_serializer=response_type.SerializeToString,
            )  # fmt: skip
        call = self._interceptors.unary(method.name, offered or _unserved(method.name))
        make = grpc.unary_stream_rpc_method_handler if method.server_streaming else grpc.unary_unary_rpc_method_handler
        return make(
            call,
            request_deserializer=request_type.FromString, response_serializer=response_type.SerializeToString,
        )  # fmt: skip

    async def start(self) -> None:
        """Bind the socket and serve. A stale socket of a daemon that died is replaced."""
        socket = self._settings.socket
        socket.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        _check_socket_length(socket)
        previous = os.umask(0o117)  # bind(2) makes the socket with 0777 & ~umask: no instant of wider access
        try:
            self._server.add_insecure_port(f"unix://{socket}")
        finally:
            os.umask(previous)
        socket.chmod(0o660)
        await self._server.start()

    async def stop(self) -> None:
        """Refuse new calls, let running ones end within the grace, remove the socket."""
        await self._server.stop(self._settings.shutdown_grace_s)
        self._settings.socket.unlink(missing_ok=True)


def _unserved(name: str) -> Callable[[Any], Awaitable[Any]]:
    async def answer(_request: Any) -> Any:
        raise Unimplemented(f"{name} is not offered by this version of Podwright")

    return answer


def _check_socket_length(socket: Path) -> None:
    if len(os.fsencode(socket)) > 107:
        raise FailedPrecondition(f"server.socket: {socket} is longer than the 107 bytes a unix socket's path may have")
