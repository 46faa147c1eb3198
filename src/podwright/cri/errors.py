"""What the kubelet sees: the one table from kinds of error to gRPC codes."""

from __future__ import annotations

import grpc

from podwright.base import errors

CODES: tuple[tuple[type[errors.PodwrightError], grpc.StatusCode], ...] = (
    (errors.InvalidArgument, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.NotFound, grpc.StatusCode.NOT_FOUND),
    (errors.AlreadyExists, grpc.StatusCode.ALREADY_EXISTS),
    (errors.FailedPrecondition, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.ResourceExhausted, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.Unauthenticated, grpc.StatusCode.UNAUTHENTICATED),
    (errors.PermissionDenied, grpc.StatusCode.PERMISSION_DENIED),
    (errors.Unavailable, grpc.StatusCode.UNAVAILABLE),
    (errors.DeadlineExceeded, grpc.StatusCode.DEADLINE_EXCEEDED),
    (errors.Cancelled, grpc.StatusCode.CANCELLED),
    (errors.DataLoss, grpc.StatusCode.DATA_LOSS),
    (errors.Unimplemented, grpc.StatusCode.UNIMPLEMENTED),
    (errors.PrefixedError, grpc.StatusCode.UNKNOWN),
    (errors.PodwrightError, grpc.StatusCode.INTERNAL),
)

_MESSAGE_LIMIT = 4096  # HTTP/2 trailers are bounded; gRPC's default for all metadata is 8 KiB


def status_of(error: BaseException) -> tuple[grpc.StatusCode, str]:
    """The gRPC code and message for an error. A disk that is full keeps its code whichever door it came through."""
    # One line: what plugins and runtimes print may have several, and events and tables have room for one.
    message = "; ".join(filter(None, map(str.strip, str(error).splitlines())))[:_MESSAGE_LIMIT]
    for kind, code in CODES:
        if isinstance(error, kind):
            return code, message
    if isinstance(error, OSError) and error.errno in (28, 122):
        return grpc.StatusCode.RESOURCE_EXHAUSTED, f"no space left: {message}"
    if isinstance(error, TimeoutError):
        return grpc.StatusCode.DEADLINE_EXCEEDED, message or "the time given ran out"
    return grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {message}"
