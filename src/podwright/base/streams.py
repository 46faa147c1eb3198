"""Streams of bytes between a process and whoever talks to it: the shape that the streaming server and the backends
agree on, without saying what carries them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol


class Reader(Protocol):
    """Where bytes come from."""

    async def read(self) -> bytes:
        """The next bytes, in pieces of the sender's choice; b"" at the end, then always.

        Raises ConnectionError when the other side went away without an end.
        """
        ...


class Writer(Protocol):
    """Where bytes go. Bounded: a slow receiver makes `write` wait, never memory grow."""

    async def write(self, data: bytes) -> None:
        """Returns when there is room for more. Raises ConnectionError when nobody will ever read it."""
        ...

    async def close(self) -> None:
        """Tell the receiver that this was all. Idempotent; a receiver that is gone is success."""
        ...


@dataclass(frozen=True)
class TerminalSize:
    """In characters; both are above 0."""

    width: int
    height: int


@dataclass(frozen=True)
class ProcessStreams:
    """The streams of an exec or attach, as the client asked for them; None: not asked for.

    With a terminal there is no `stderr`. `sizes` yields the terminal's size, first and at each change, and ends with
    the connection.
    """

    stdin: Reader | None = None
    stdout: Writer | None = None
    stderr: Writer | None = None
    sizes: AsyncIterator[TerminalSize] | None = None
