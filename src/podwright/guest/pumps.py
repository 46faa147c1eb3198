"""Between a process's descriptors and the host's streams: what a stream's credit allows, and no byte more is held.

An `Output` reads from a pipe or terminal only while the stream has credit and the port has room; an `Input` holds what
the host was given credit for until the process takes it. pipe(7), pty(7).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from podwright.guest.loop import HUNG_UP, READ, WRITE, Loop
from podwright.guest.port import Port
from podwright.linux.tty import end_of_input
from podwright.wire.guest_frames import DATA_LIMIT_BYTES


class Output:
    """What a process writes. Owns `fd`, which must not block. `closed` is called once when the stream is over."""

    def __init__(self, loop: Loop, port: Port, stream: int, fd: int, closed: Callable[[int], None]) -> None:
        self._loop, self._port, self.stream, self._fd = loop, port, stream, fd
        self._closed = closed
        self._waits = False
        port.streams.open_sending(stream)
        self._watch()

    def resume(self) -> None:
        """There is credit, or room, again."""
        self._waits = False
        if self._fd >= 0:
            self._watch()

    def drain(self) -> None:
        """Pass on what is there now, as far as the credit goes."""
        while self._fd >= 0 and self._port.streams.credit(self.stream) and self._pass_on():
            pass

    def close(self) -> None:
        """The writer gets SIGPIPE from now on; the host is told that nothing more comes."""
        if self._fd >= 0:
            self._loop.unwatch(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._port.write(self._port.streams.end(self.stream))
            self._closed(self.stream)

    def _watch(self) -> None:
        self._loop.watch(self._fd, READ, self._ready)

    def _ready(self, _: int) -> None:
        if not self._port.streams.credit(self.stream):
            self._loop.unwatch(self._fd)  # `resume` comes with the credit
        elif self._port.congested:
            self._loop.unwatch(self._fd)
            if not self._waits:
                self._waits = True
                self._port.when_roomy(self.resume)
        else:
            self._pass_on()

    def _pass_on(self) -> bool:
        """Whether there was something."""
        try:
            data = os.read(self._fd, min(DATA_LIMIT_BYTES, self._port.streams.credit(self.stream)))
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.EIO:  # a terminal that nobody has open any more
                raise
            data = b""
        if not data:
            self.close()
            return False
        self._port.write(self._port.streams.send(self.stream, data))
        return True


class Input:
    """What a process reads. Owns `fd`, which must not block. `terminal`: an end is typed, not closed."""

    def __init__(
        self, loop: Loop, port: Port, stream: int, fd: int, closed: Callable[[int], None], *, terminal: bool
    ) -> None:
        self._loop, self._port, self.stream, self._fd = loop, port, stream, fd
        self._closed, self._terminal = closed, terminal
        self._buffer = bytearray()
        self._ended = self._line_open = False
        port.streams.open_receiving(stream)
        self._watch()

    def feed(self, data: bytes) -> None:
        """The host has sent it."""
        self._buffer += data
        self._write()

    def end(self) -> None:
        """The host sends no more."""
        self._ended = True
        if self._terminal and self._fd >= 0:
            line_open = self._buffer[-1:] != b"\n" if self._buffer else self._line_open
            self._buffer += end_of_input(self._fd, line_open=line_open)
        self._write()

    def close(self) -> None:
        """The host is told that nobody reads any more; what is held is dropped."""
        if self._fd >= 0:
            self._loop.unwatch(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._buffer.clear()
            self._port.write(self._port.streams.reset(self.stream))
            self._closed(self.stream)

    def _watch(self) -> None:
        # Hanging up is reported without being asked for: readers of a pipe that are gone are seen at once. A terminal
        # reports input as well, which is the Output's to read.
        self._loop.watch(self._fd, WRITE if self._buffer else 0, self._ready)

    def _ready(self, events: int) -> None:
        if events & HUNG_UP:
            self.close()
        else:
            self._write()

    def _write(self) -> None:
        if self._fd < 0:
            return
        written = 0
        try:
            while self._buffer:
                count = os.write(self._fd, self._buffer)
                self._line_open = self._buffer[count - 1] != ord("\n")
                del self._buffer[:count]
                written += count
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            self.close()
            return
        self._port.write(self._port.streams.took(self.stream, written))
        if self._ended and not self._buffer and not self._terminal:
            self.close()
        else:
            self._watch()
