"""What a machine's keeper is asked over its unix socket: who asks, how, and the errors that come back.

One SOCK_SEQPACKET message is one JSON object, `{"verb": …}`, with descriptors beside it; the answer is `{"answer": …}`
or `{"failure": {"kind", "message"}}`. Most verbs are the agent's own (docs/vm.md, "Protocol") and go through. Those
that begin a process, `create` and `exec`, make the connection that process's: it gets `signal` and `resize`, tells the
end (`exit` or `lost`), and closing it kills the process. unix(7).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from podwright.base.errors import (
    AlreadyExists,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    PodwrightError,
    ResourceExhausted,
    Unavailable,
    Unimplemented,
)

MESSAGE_LIMIT_BYTES = 128 * 1024
_KINDS: dict[str, type[PodwrightError]] = {
    "invalid": InvalidArgument, "not-found": NotFound, "exists": AlreadyExists, "state": FailedPrecondition,
    "unsupported": Unimplemented, "busy": ResourceExhausted, "gone": Unavailable, "internal": Internal,
}  # fmt: skip

Message = dict[str, Any]


def error_of(failure: Mapping[str, Any]) -> PodwrightError:
    """The error that a failure's object tells."""
    return _KINDS.get(str(failure.get("kind")), Internal)(str(failure.get("message", "")))


def failure_of(error: PodwrightError) -> Message:
    """The object that tells an error."""
    kind = next((name for name, known in _KINDS.items() if isinstance(error, known)), "internal")
    return {"kind": kind, "message": str(error)}


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A way to a socket that is shorter than sun_path, however long `path` is."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def listen(path: Path) -> socket.socket:
    """A non-blocking listener at `path`; one that is there is replaced."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    with short_path(path) as short:
        listener.bind(short)
    listener.listen(64)
    return listener


def connect(path: Path, *, timeout_s: float | None = None) -> socket.socket:
    """A blocking connection. Raises Unavailable when no keeper listens there."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    connection.settimeout(timeout_s)
    try:
        with short_path(path) as short:
            connection.connect(short)
    except OSError as error:
        connection.close()
        raise Unavailable(f"the virtual machine does not run: {error.strerror}") from None
    return connection


def ask(connection: socket.socket, message: Message, descriptors: Sequence[int] = ()) -> Message:
    """One request with its answer, by a program that has nothing else to do. Raises what the keeper tells."""
    try:
        socket.send_fds(connection, [msgspec.json.encode(message)], descriptors)
        data = connection.recv(MESSAGE_LIMIT_BYTES)
    except TimeoutError:
        raise Unavailable("the virtual machine's keeper does not answer") from None
    except OSError as error:
        raise Unavailable(f"the virtual machine's keeper is gone: {error.strerror}") from None
    if not data:
        raise Unavailable("the virtual machine's keeper is gone")
    reply: Message = msgspec.json.decode(data)
    if "failure" in reply:
        raise error_of(reply["failure"])
    answer: Message = reply["answer"]
    return answer
