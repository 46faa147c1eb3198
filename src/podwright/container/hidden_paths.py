"""Masked and read-only paths for a runtime that doesn't know them: gVisor's, as mounts. create.py calls it last.

As runc has them (libcontainer, maskPath and readonlyPath): an empty directory or /dev/null in place of what is masked,
a read-only view of what is read-only, nothing for what is not there.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from podwright.base.log import get_logger
from podwright.container.spec.mounts import in_order
from podwright.linux.paths import open_in_root, resolve_in_root
from podwright.oci.runtime_spec import Mount

log = get_logger(__name__)

_MASKED_DIRECTORY = ("tmpfs", "tmpfs", ["ro", "nosuid", "nodev", "noexec", "size=0k"])
_MASKED_FILE = ("bind", "/dev/null", ["bind", "rprivate", "ro"])
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def hide_by_mounts(
    rootfs: Path, mounts: Sequence[Mount], *, masked: Sequence[str], read_only: Sequence[str]
) -> list[Mount]:
    """`mounts`, settled, and what hides the paths, in order.

    A mount that is masked as a whole is replaced, one below it left out. What lies deeper in another mount is left
    alone: the kernel's files are the sentry's own, and names in a volume can change before the runtime looks.
    """
    at = {mount.destination: mount for mount in mounts}
    for place, _ in _found(rootfs, at, read_only):
        if place in at:
            options = [option for option in at[place].options if option not in ("rw", "ro")]
            at[place] = msgspec.structs.replace(at[place], options=[*options, "ro"])
        else:
            source = f"{rootfs}{place}"
            at[place] = Mount(destination=place, type="bind", source=source, options=["rbind", "rprivate", "ro"])
    for place, is_directory in _found(rootfs, at, masked):
        kind, source, options = _MASKED_DIRECTORY if is_directory else _MASKED_FILE
        for other in [other for other in at if other.startswith(f"{place}/")]:
            del at[other]
        at[place] = Mount(destination=place, type=kind, source=source, options=options)
    return in_order(at.values())


def _found(rootfs: Path, at: dict[str, Mount], paths: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Each path that is there and can be hidden: where it leads, and whether that is a directory."""
    for path in paths:
        try:
            place = resolve_in_root(rootfs, path, stops=at)
            if place in at:
                yield place, at[place].type != "bind" or Path(at[place].source).is_dir()
            elif place == "/" or any(_covers(mount, place) for mount in at):
                log.debug("left alone, for it lies in another mount", path=path)
            else:
                yield place, _is_directory(rootfs, place)
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise


def _covers(mount: str, place: str) -> bool:
    return posixpath.commonpath((mount, place)) == mount


def _is_directory(rootfs: Path, place: str) -> bool:
    fd = open_in_root(rootfs, place, os.O_PATH, follow=False)
    try:
        return stat.S_ISDIR(os.fstat(fd).st_mode)
    finally:
        os.close(fd)
