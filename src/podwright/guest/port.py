"""The connection to the host: a virtio-serial port, frames, and the streams on it.

Output is held back in bounds: who writes on streams asks `congested` first, and is told when there is room again. When
the host's end closes, the machine has no reason to live: `lost` is called.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from podwright.guest.failures import INTERNAL, Failure
from podwright.guest.kernel_files import read
from podwright.guest.loop import HUNG_UP, READ, WRITE, Loop
from podwright.wire.guest_frames import DATA, PORT_NAME, Decoder, Frame, ProtocolError, Streams

_READ_BYTES = 256 * 1024
_HIGH_WATER_BYTES = 512 * 1024
_FIND_TIMEOUT_S = 10.0
_PORTS = "/sys/class/virtio-ports"


def open_port() -> int:
    """The port's descriptor, once the driver shows it and a host is at its other end. Raises Failure."""
    deadline = time.monotonic() + _FIND_TIMEOUT_S
    while time.monotonic() < deadline:
        for port in os.listdir(_PORTS) if os.path.isdir(_PORTS) else ():
            if read(f"{_PORTS}/{port}/name").strip() == PORT_NAME:
                return os.open(f"/dev/{port}", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        time.sleep(0.005)  # noqa: TID251 - nothing else happens in the machine yet
    raise Failure(INTERNAL, f"there is no virtio-serial port called {PORT_NAME}")


class Port:
    """`receive` gets every frame that is not a stream's own business; streams tell `inputs` and `outputs`."""

    def __init__(self, loop: Loop, fd: int, receive: Callable[[Frame], None], lost: Callable[[str], None]) -> None:
        self._loop, self._fd = loop, fd
        self._receive, self._lost = receive, lost
        self._decoder = Decoder()
        self._output = bytearray()
        self._connected = False
        self._waiting: list[Callable[[], None]] = []
        self.streams = Streams()
        self._watch()

    @property
    def congested(self) -> bool:
        """Whether the host has much to read still: streams wait."""
        return len(self._output) >= _HIGH_WATER_BYTES

    @property
    def idle(self) -> bool:
        """Whether everything has gone out."""
        return not self._output

    def when_roomy(self, then: Callable[[], None]) -> None:
        """Call it once when the port is not congested any more."""
        self._waiting.append(then)

    def write(self, frames: bytes) -> None:
        """Send whole frames; never waits."""
        if frames:
            self._output += frames
            self._flush()

    def _watch(self) -> None:
        self._loop.watch(self._fd, READ | (WRITE if self._output else 0), self._ready)

    def _ready(self, events: int) -> None:
        if events & HUNG_UP and not events & READ:
            self._hung_up()
            return
        if events & READ:
            self._read()
        if events & WRITE:
            self._flush()

    def _hung_up(self) -> None:
        """A port nobody has connected to looks the same as one that somebody has left."""
        self._loop.unwatch(self._fd)
        if self._connected:
            self._lost("the host has closed its end")
        else:
            self._loop.after(0.02, self._watch)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._hung_up()
            return
        try:
            for frame in self._decoder.feed(data):
                if frame.kind < DATA or self.streams.receive(frame):
                    self._receive(frame)
        except ProtocolError as error:
            self._loop.unwatch(self._fd)
            self._lost(str(error))

    def _flush(self) -> None:
        try:
            while self._output:
                del self._output[: os.write(self._fd, self._output[:_READ_BYTES])]
                self._connected = True  # without a host the port takes nothing
        except BlockingIOError:
            pass
        self._watch()
        if self._waiting and not self.congested:
            waiting, self._waiting = self._waiting, []
            for then in waiting:
                self._loop.soon(then)
