"""Terminals of containers: the manager's end goes to whoever listens at `--console-socket`.

runc, docs/terminals.md: one message with the descriptor; its bytes are the name of the terminal.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from podwright.base.errors import InvalidArgument


def connect(path: str) -> socket.socket:
    """A connection to a console socket, whose path may be longer than the 107 bytes of sun_path. Raises InvalidArgument
    when nobody listens there."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    where = Path(path)
    try:
        directory = os.open(where.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            connection.connect(f"/proc/self/fd/{directory}/{where.name}")
        finally:
            os.close(directory)
    except OSError as error:
        connection.close()
        raise InvalidArgument(f"nobody listens at {path}: {error.strerror}", field="--console-socket") from error
    return connection


def send(connection: socket.socket, manager: int, name: str) -> None:
    """Give the manager's end away; both the descriptor and the connection stay the caller's to close."""
    socket.send_fds(connection, [name.encode()], [manager])
