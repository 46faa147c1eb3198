"""The standard streams that a process in the machine gets: the caller's, or a terminal of the host's.

The terminal is a pair: the manager's end goes to the caller's console socket, the other is carried by the keeper. It
is raw, because the terminal in the machine, which the process has, does what a terminal does. pty(7), termios(3).
"""

from __future__ import annotations

import os
import tty
from collections.abc import Iterator
from contextlib import contextmanager

from podwright.ociruntime import console


@contextmanager
def streams(console_socket: str) -> Iterator[list[int]]:
    """Descriptors as `Attached` takes them: three, or the terminal. They are closed here if they are the terminal's."""
    if not console_socket:
        yield [0, 1, 2]
        return
    with console.connect(console_socket) as connection:
        manager, terminal = os.openpty()
        try:
            tty.setraw(terminal)
            console.send(connection, manager, os.ttyname(terminal))
            os.close(manager)
            manager = -1
            yield [terminal]
        finally:
            os.close(terminal)
            if manager >= 0:
                os.close(manager)
