"""What the streaming server is asked for, and what it asks of a backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from podwright.base.streams import ProcessStreams, Reader, Writer
from podwright.wire.remotecommand import ERROR, RESIZE, STDERR, STDIN, STDOUT


@dataclass(frozen=True)
class Wanted:
    """The streams a client asked for. With a terminal there is no stderr."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    terminal: bool = False


def stream_names(wanted: Wanted) -> list[str]:
    """The streams that a client opens, as its request says."""
    asked = {STDIN: wanted.stdin, STDOUT: wanted.stdout, STDERR: wanted.stderr, RESIZE: wanted.terminal}
    return [ERROR, *(name for name, is_wanted in asked.items() if is_wanted)]


@dataclass(frozen=True)
class Exec:
    """A command to be run in a container."""

    container_id: str
    command: tuple[str, ...]
    wanted: Wanted


@dataclass(frozen=True)
class Attach:
    """A container's own streams."""

    container_id: str
    wanted: Wanted


@dataclass(frozen=True)
class PortForward:
    """Ports of a pod. `ports` is for WebSocket's channels, whose number they fix; SPDY's streams name their own."""

    sandbox_id: str
    ports: tuple[int, ...] = ()


Request = Exec | Attach | PortForward


class StreamingBackend(Protocol):
    """The verbs behind the three URLs; part of `backend.base.Backend`.

    When the client goes away, its streams raise ConnectionError. `attach` and `port_forward` are cancelled then; an
    `exec` is not, as its process has to be ended, which the backend does when it finds the streams gone. A daemon that
    stops cancels all three.
    """

    async def exec(
        self, container_id: str, command: Sequence[str], *, terminal: bool, streams: ProcessStreams
    ) -> int: ...

    async def attach(self, container_id: str, *, streams: ProcessStreams) -> None: ...

    async def port_forward(self, sandbox_id: str, port: int, *, incoming: Reader, outgoing: Writer) -> None: ...
