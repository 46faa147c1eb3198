"""The way to a CRI socket: a connection with the stubs of its services, and gRPC's errors in our own words.

Synchronous on purpose: a command makes a few calls in a row and ends. Used by every subcommand that talks to a
daemon, ours or another.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import typer

from podwright.base import errors
from podwright.cli.options import socket_path
from podwright.criapi.api_pb2_grpc import ImageServiceStub, RuntimeServiceStub

if TYPE_CHECKING:
    from podwright.criapi.podwright_pb2_grpc import PodwrightStub

# What a call may take, in seconds: lists and statuses; verbs that start or stop something (beside grace periods).
QUICK_S = 30.0
SLOW_S = 240.0

_OPTIONS = (
    ("grpc.max_receive_message_length", 80 * 1024 * 1024),
    # Servers written in Go refuse the authority that gRPC makes up from a socket's path.
    ("grpc.default_authority", "localhost"),
    ("grpc.enable_http_proxy", 0),
)

_KINDS: dict[grpc.StatusCode, type[errors.PodwrightError]] = {
    grpc.StatusCode.NOT_FOUND: errors.NotFound,
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidArgument,
    grpc.StatusCode.FAILED_PRECONDITION: errors.FailedPrecondition,
    grpc.StatusCode.ALREADY_EXISTS: errors.AlreadyExists,
    grpc.StatusCode.UNAUTHENTICATED: errors.Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: errors.PermissionDenied,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.ResourceExhausted,
    grpc.StatusCode.UNAVAILABLE: errors.Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    grpc.StatusCode.UNIMPLEMENTED: errors.Unimplemented,
    grpc.StatusCode.CANCELLED: errors.Cancelled,
}


class Client:
    """A connection to one CRI socket, with a stub for each service."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._channel = grpc.insecure_channel(f"unix:{socket}", options=_OPTIONS)
        self.runtime = RuntimeServiceStub(self._channel)
        self.image = ImageServiceStub(self._channel)

    @cached_property
    def podwright(self) -> PodwrightStub:
        """Podwright's own service; other runtimes answer UNIMPLEMENTED."""
        from podwright.criapi.podwright_pb2_grpc import PodwrightStub

        return PodwrightStub(self._channel)

    def close(self) -> None:
        """Close the connection; calls under way are cancelled."""
        self._channel.close()


@contextmanager
def connect(ctx: typer.Context, socket: str | None) -> Iterator[Client]:
    """A client for the socket that the options name. gRPC's errors come out of the block as PodwrightErrors."""
    path = socket_path(ctx, socket)
    check_socket(path)
    client = Client(path)
    try:
        yield client
    except grpc.RpcError as error:
        raise translate(error, path) from error
    finally:
        client.close()


def check_socket(path: Path) -> None:
    """Say at once what is wrong with a socket that can't be connected to. Raises Unavailable, PermissionDenied."""
    try:
        mode = path.stat().st_mode
    except PermissionError as error:
        raise _not_allowed(path) from error
    except OSError as error:
        raise errors.Unavailable(
            f"no daemon at {path}: {(error.strerror or '').lower()}; start it with `podwright serve`"
            f" or `systemctl start podwright`, or name another socket with --socket"
        ) from error
    if not stat.S_ISSOCK(mode):
        raise errors.InvalidArgument(f"{path} is not a socket; name the daemon's socket with --socket")
    if not os.access(path, os.R_OK | os.W_OK):
        raise _not_allowed(path)


def translate(error: grpc.RpcError, path: Path) -> errors.PodwrightError:
    """An error of gRPC as an error of the same kind whose message is the server's own."""
    if not isinstance(error, grpc.Call):
        return errors.Internal(str(error))
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.UNAVAILABLE and "connect" in details:
        return errors.Unavailable(
            f"nothing answers at {path}; has the daemon ended? Start it with `podwright serve`"
            " or `systemctl start podwright`"
        )
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return errors.Unimplemented(f"the runtime at {path} doesn't offer this ({details})")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return errors.DeadlineExceeded(f"the runtime at {path} didn't answer in time ({details}); see its log")
    return _KINDS.get(code, errors.Internal)(details or code.name)


def is_code(error: grpc.RpcError, code: grpc.StatusCode) -> bool:
    """Whether a call failed with `code`."""
    return isinstance(error, grpc.Call) and error.code() is code


def _not_allowed(path: Path) -> errors.PermissionDenied:
    return errors.PermissionDenied(f"not allowed to use {path}: it belongs to root; try `sudo podwright …`")
