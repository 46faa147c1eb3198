"""What comes over a hijacked connection: the process's output, by stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from podwright.docker.hijack import Hijacked
from podwright.wire.docker_stream import FrameReader, Stream

DETACH_KEYS = ",".join(["ctrl-]", "ctrl-@"] * 8)
"""Docker takes keys out of what is typed into a terminal, by default ctrl-p ctrl-q, and can't be told to take none: so
what nobody types."""

Read = Callable[[], Awaitable[bytes]]


async def output(
    connection: Hijacked, *, terminal: bool, read: Read | None = None
) -> AsyncIterator[tuple[Stream, bytes]]:
    """Until the end. `read` stands in for the connection's own, for who wants to end it otherwise.

    Raises ConnectionError when the engine goes away, docker_stream.BadFrame.
    """
    frames, read = FrameReader(), read or connection.read
    while data := await read():
        if terminal:
            yield Stream.STDOUT, data
            continue
        for piece in frames.feed(data):
            yield piece.stream, piece.data
