"""What the engine's refusals mean. Docker Engine API v1.41, "Errors": a status and {"message": "…"}."""

from __future__ import annotations

import msgspec

from podwright.base.errors import (
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    PodwrightError,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)


class EngineUnavailable(Unavailable):
    """The engine can't be reached, or went away in the middle of an answer."""


class EngineTooOld(Unavailable):
    """The engine and we have no API version in common."""


class Conflict(FailedPrecondition):
    """409: a name is taken, or the object's state forbids the verb; the engine's words say which."""


class NoSuchObject(NotFound):
    """404: no such container, image, exec or network."""


class EngineFailed(Internal):
    """500, and whatever else has no meaning of its own. `status` is the answer's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


_KINDS: dict[int, type[PodwrightError]] = {
    400: InvalidArgument, 401: Unauthenticated, 403: PermissionDenied, 404: NoSuchObject, 409: Conflict,
    501: Unimplemented, 503: EngineUnavailable,
}  # fmt: skip
WORDS_LIMIT = 2000


class _Message(msgspec.Struct):
    message: str = ""


def words_of(body: bytes) -> str:
    """The message of an error's body; the body itself where it has none."""
    try:
        words = msgspec.json.decode(body, type=_Message).message
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        words = ""
    return (words or body.decode(errors="replace")).strip()[:WORDS_LIMIT]


def refusal(status: int, body: bytes, request: str) -> PodwrightError:
    """The error that an answer other than success is. `request`: method and path, for people."""
    words = words_of(body) or f"{request} is answered by {status} without a reason"
    kind = _KINDS.get(status)
    return EngineFailed(f"Docker: {words}", status) if kind is None else kind(f"Docker: {words}")
