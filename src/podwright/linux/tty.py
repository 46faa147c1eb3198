"""The manager's end of a pseudoterminal. pty(7), ioctl_tty(2), termios(3)."""

from __future__ import annotations

import errno
import fcntl
import struct
import termios

_OFLAG, _LFLAG, _CC = 1, 3, 6
# The kernel keeps sizes in unsigned shorts.
_SIZE_LIMIT = 0xFFFF


def set_size(fd: int, *, width: int, height: int) -> None:
    """In characters; programs in the foreground get SIGWINCH. A terminal that is hung up is success. TIOCSWINSZ."""
    size = struct.pack("HHHH", min(height, _SIZE_LIMIT), min(width, _SIZE_LIMIT), 0, 0)
    try:
        fcntl.ioctl(fd, termios.TIOCSWINSZ, size)
    except OSError as error:
        if error.errno != errno.EIO:
            raise


def write_carriage_returns(fd: int) -> None:
    """Let a newline go out as CR LF, which is what clients' terminals in raw mode expect; runtimes turn it off."""
    try:
        attributes = termios.tcgetattr(fd)
        attributes[_OFLAG] |= termios.ONLCR
        termios.tcsetattr(fd, termios.TCSANOW, attributes)
    except termios.error:
        return  # hung up already


def end_of_input(fd: int, *, line_open: bool) -> bytes:
    """What to write so that a reader sees the end of its input; nothing where the program reads single characters.

    `line_open`: the last byte written was no newline. The character then ends only that line, and a second is needed.
    """
    try:
        attributes = termios.tcgetattr(fd)
    except termios.error:
        return b""  # hung up: there is nobody to tell
    if not attributes[_LFLAG] & termios.ICANON:
        return b""
    character: bytes = attributes[_CC][termios.VEOF]
    return character * 2 if line_open else character
