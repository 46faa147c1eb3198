"""Files of the kernel, in /proc, /sys and cgroups: read whole, written in one call."""

from __future__ import annotations

import os


def read(path: str) -> str:
    """A file's text; empty when there is none."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def write(path: str, text: str) -> None:
    """Write to a file of the kernel. Raises OSError with its path."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(fd)


def pairs(text: str) -> dict[str, int]:
    """A "flat keyed" file: `name number` lines."""
    found = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if value.strip().isdigit():
            found[key] = int(value)
    return found
