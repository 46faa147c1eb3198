"""Reading and writing the small files of a cgroup, by path: the way to see a cgroup that may go at any moment.

Every read opens, reads once and closes: about 5 µs. A cgroup or controller that isn't there reads as None.
"""

from __future__ import annotations

import errno
import os

from podwright.base.errors import InvalidArgument

# A removed cgroup's open file reads ENODEV; a missing directory or file ENOENT; a file without its data EOPNOTSUPP.
_GONE = (errno.ENOENT, errno.ENODEV, errno.ENOTDIR, errno.EOPNOTSUPP)
UNLIMITED = 2**60  # v1 spells "no limit" as the largest multiple of a page below 2**63


def read(path: str) -> bytes | None:
    """A file's content, None when it or its cgroup is not there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            chunks = []
            while chunk := os.read(fd, 65536):  # the kernel gives a page at a time
                chunks.append(chunk)
            return b"".join(chunks)
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise


def read_number(path: str) -> int | None:
    """A file that holds one number; None when it isn't there, 0 for "max"."""
    data = read(path)
    return None if data is None else _number(data)


def read_limit(path: str) -> int:
    """A limit; 0 where there is none, by either version's spelling, or no file."""
    number = read_number(path) or 0
    return 0 if number >= UNLIMITED or number < 0 else number


def read_bound(path: str) -> int | None:
    """A limit that may be 0 (nothing is allowed); None where there is none, or no file."""
    data = read(path)
    if data is None or data.strip() == b"max" or int(data) >= UNLIMITED:
        return None
    return int(data)


def read_table(path: str) -> dict[bytes, int] | None:
    """A file of `key number` lines."""
    data = read(path)
    if data is None:
        return None
    words = data.split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=True))


def read_pids(directory: str) -> list[int]:
    """cgroup.procs, without the 0 that stands for a process of a foreign pid namespace."""
    return [pid for pid in map(int, (read(directory + "/cgroup.procs") or b"").split()) if pid]


def write(path: str, value: str) -> None:
    """Write a value. Raises InvalidArgument when the kernel refuses it, FileNotFoundError when the file isn't there."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    except OSError as error:
        if error.errno in (errno.ENODEV, errno.ENOENT):
            raise FileNotFoundError(error.errno, "the cgroup is gone", path) from error
        raise InvalidArgument(f"{path}: the kernel refuses {value!r}: {error.strerror}") from error
    finally:
        os.close(fd)


def write_lines(path: str, value: str) -> None:
    """Write a content that was read: the kernel takes one line a write, and no line as an empty one."""
    for line in value.splitlines() or [""]:
        write(path, line + "\n")


def below(directory: str) -> list[str]:
    """The directory and all cgroups below it, outermost first; empty when it is gone."""
    found, unseen = [], [directory]
    while unseen:
        parent = unseen.pop(0)
        try:
            with os.scandir(parent) as entries:
                unseen += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            continue
        found.append(parent)
    return found


def _number(data: bytes) -> int:
    text = data.strip()
    return 0 if text == b"max" else int(text)
