"""ttrpc's status codes are gRPC's; here they become our errors, and ours become codes for a peer."""

from __future__ import annotations

from podwright.base import errors
from podwright.base.errors import PodwrightError
from podwright.wire.ttrpc import Code


class ConnectionLost(PodwrightError):
    """The connection ended, or was given up, before the answer came."""


class RemoteError(PodwrightError):
    """The peer answered with an error. `code` is gRPC's, `words` the peer's message."""

    def __init__(self, method: str, code: int, words: str) -> None:
        super().__init__(words or f"{method} failed with code {code}")
        self.code, self.words = code, words

    @property
    def unimplemented(self) -> bool:
        """The peer doesn't know the method."""
        return self.code == Code.UNIMPLEMENTED


_CODES: tuple[tuple[type[PodwrightError], int], ...] = (
    (errors.InvalidArgument, 3),
    (errors.DeadlineExceeded, 4),
    (errors.NotFound, 5),
    (errors.AlreadyExists, 6),
    (errors.PermissionDenied, 7),
    (errors.ResourceExhausted, 8),
    (errors.FailedPrecondition, 9),
    (errors.Unimplemented, 12),
    (errors.Internal, 13),
    (errors.Unavailable, 14),
)


def code_of(error: PodwrightError) -> int:
    """The gRPC code that says what kind of error this is."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), Code.UNKNOWN)
