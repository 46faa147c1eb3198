"""The archive that a kernel unpacks as its first file system. kernel: driver-api/early-userspace/buffer-format.rst."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

_DIRECTORY, _FILE, _LINK = 0o040755, 0o100000, 0o120777


@dataclass(frozen=True)
class Entry:
    """A file with its content, or with `link` a symbolic link whose target `content` is."""

    content: bytes
    executable: bool = False
    link: bool = False


def archive(entries: Mapping[str, Entry]) -> bytes:
    """Entries by absolute path, with the directories they are in. The same entries give the same bytes."""
    directories = {str(parent) for path in entries for parent in PurePosixPath(path).parents} - {"/"}
    made = [_entry(number, path, _DIRECTORY, b"") for number, path in enumerate(sorted(directories), 1)]
    for number, (path, entry) in enumerate(sorted(entries.items()), len(made) + 1):
        mode = _LINK if entry.link else _FILE | (0o755 if entry.executable else 0o644)
        made.append(_entry(number, path, mode, entry.content))
    return b"".join([*made, _entry(0, "/TRAILER!!!", 0, b"")])


def _entry(inode: int, path: str, mode: int, content: bytes) -> bytes:
    name = path.lstrip("/").encode() + b"\0"
    fields = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
    return _padded(b"070701" + b"".join(b"%08x" % field for field in fields) + name) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
