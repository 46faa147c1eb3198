"""Options of mounts[]: words into flags, attributes, propagation and data. Pure. config.md, "Linux mount options"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from podwright.linux import syscalls as sys

_MS_SYNCHRONOUS, _MS_MANDLOCK, _MS_DIRSYNC, _MS_NOSYMFOLLOW = 16, 64, 128, 256
_MS_NOATIME, _MS_NODIRATIME, _MS_SILENT, _MS_UNBINDABLE = 1024, 2048, 32768, 1 << 17
_MS_RELATIME, _MS_STRICTATIME = 1 << 21, 1 << 24
_ATTR_NOSYMFOLLOW, _ATTR_NOATIME, _ATTR_NODIRATIME = 0x200000, 0x10, 0x80
_ATTR_STRICTATIME, _ATTR__ATIME = 0x20, 0x70

# Word: flag of mount(2), whether it clears it.
_FLAGS = {
    "ro": (sys.MS_RDONLY, False), "rw": (sys.MS_RDONLY, True),
    "nosuid": (sys.MS_NOSUID, False), "suid": (sys.MS_NOSUID, True),
    "nodev": (sys.MS_NODEV, False), "dev": (sys.MS_NODEV, True),
    "noexec": (sys.MS_NOEXEC, False), "exec": (sys.MS_NOEXEC, True),
    "sync": (_MS_SYNCHRONOUS, False), "async": (_MS_SYNCHRONOUS, True), "dirsync": (_MS_DIRSYNC, False),
    "mand": (_MS_MANDLOCK, False), "nomand": (_MS_MANDLOCK, True),
    "noatime": (_MS_NOATIME, False), "atime": (_MS_NOATIME, True),
    "nodiratime": (_MS_NODIRATIME, False), "diratime": (_MS_NODIRATIME, True),
    "relatime": (_MS_RELATIME, False), "norelatime": (_MS_RELATIME, True),
    "strictatime": (_MS_STRICTATIME, False), "nostrictatime": (_MS_STRICTATIME, True),
    "nosymfollow": (_MS_NOSYMFOLLOW, False), "symfollow": (_MS_NOSYMFOLLOW, True),
    "silent": (_MS_SILENT, False), "loud": (_MS_SILENT, True), "defaults": (0, False),
}  # fmt: skip
_ATTRIBUTES = {
    sys.MS_RDONLY: sys.MOUNT_ATTR_RDONLY, sys.MS_NOSUID: sys.MOUNT_ATTR_NOSUID, sys.MS_NODEV: sys.MOUNT_ATTR_NODEV,
    sys.MS_NOEXEC: sys.MOUNT_ATTR_NOEXEC, _MS_NOSYMFOLLOW: _ATTR_NOSYMFOLLOW, _MS_NODIRATIME: _ATTR_NODIRATIME,
}  # fmt: skip
_ATIMES = {_MS_NOATIME: _ATTR_NOATIME, _MS_STRICTATIME: _ATTR_STRICTATIME}
_PROPAGATION = {
    "private": sys.MS_PRIVATE, "slave": sys.MS_SLAVE, "shared": sys.MS_SHARED, "unbindable": _MS_UNBINDABLE,
}  # fmt: skip
_RECURSIVE = {f"r{word}": flag for word, flag in _FLAGS.items() if flag[0] in _ATTRIBUTES}


class MountOptions(NamedTuple):
    """`flags` for mount(2). The attributes are the same for mount_setattr(2), and those of all mounts below."""

    bind: bool = False
    recursive: bool = False
    flags: int = 0
    set_attributes: int = 0
    clear_attributes: int = 0
    recursive_set: int = 0
    recursive_clear: int = 0
    propagation: int = 0
    data: str = ""


def parse(words: Sequence[str]) -> MountOptions:
    """Words that nobody knows are the file system's own."""
    found, data = MountOptions(), list[str]()
    for word in words:
        if word in ("bind", "rbind"):
            found = found._replace(bind=True, recursive=word == "rbind")
        elif word in _FLAGS:
            found = _with_flag(found, *_FLAGS[word])
        elif word in _RECURSIVE:
            flag, clears = _RECURSIVE[word]
            name = "recursive_clear" if clears else "recursive_set"
            found = found._replace(**{name: getattr(found, name) | _ATTRIBUTES[flag]})
        elif (kind := word.removeprefix("r")) in _PROPAGATION or word in _PROPAGATION:
            recursive = sys.MS_REC if word not in _PROPAGATION else 0
            found = found._replace(propagation=_PROPAGATION.get(word, _PROPAGATION.get(kind, 0)) | recursive)
        else:
            data.append(word)
    return found._replace(data=",".join(data))


def _with_flag(found: MountOptions, flag: int, clears: bool) -> MountOptions:  # noqa: FBT001 - a row of the table
    if clears:
        cleared = _ATTRIBUTES.get(flag, 0)
        return found._replace(
            flags=found.flags & ~flag, set_attributes=found.set_attributes & ~cleared,
            clear_attributes=found.clear_attributes | cleared,
        )  # fmt: skip
    attribute, times = _ATTRIBUTES.get(flag, 0), _ATIMES.get(flag, 0)
    return found._replace(
        flags=found.flags | flag, set_attributes=found.set_attributes | attribute | times,
        clear_attributes=found.clear_attributes & ~attribute | (_ATTR__ATIME if times else 0),
    )  # fmt: skip
