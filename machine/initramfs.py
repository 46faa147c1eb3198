"""The first file system: busybox, the modules that reach the host's files, and a script that changes to them.

kernel: driver-api/early-userspace/buffer-format.rst ("newc").
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

_DIRECTORIES = ("bin", "modules", "proc", "sys", "dev", "lower", "layer", "root", "checkout")
_FILE, _DIRECTORY = 0o100755, 0o040755


def initramfs(init: bytes, modules: Sequence[Path]) -> bytes:
    """The archive. `modules` are loaded in this order by `init`, as /modules/0, /modules/1 and so on."""
    entries = [(name, _DIRECTORY, b"") for name in _DIRECTORIES]
    entries += [("init", _FILE, init), ("bin/busybox", _FILE, Path("/bin/busybox").read_bytes())]
    entries += [(f"modules/{at:02}", _FILE, path.read_bytes()) for at, path in enumerate(modules)]
    entries.append(("TRAILER!!!", 0, b""))
    archive = b"".join(_entry(number, *entry) for number, entry in enumerate(entries, 1))
    return gzip.compress(archive, compresslevel=1)


def _entry(inode: int, name: str, mode: int, content: bytes) -> bytes:
    fields = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    header = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
    return _padded(header) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
