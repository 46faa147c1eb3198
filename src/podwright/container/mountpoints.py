"""A root file system made ready for the runtime's mounts. create.py calls it when the file system is mounted.

The image is somebody else's: what its symlinks lead to is found and made inside the tree, by the kernel's own
confinement, so that no runtime has to follow them itself.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import msgspec

from podwright.base.errors import InvalidArgument
from podwright.container.spec.facts import MountSource
from podwright.container.spec.mounts import check_place, in_order
from podwright.linux.paths import make_directories_in_root, open_in_root, resolve_in_root
from podwright.oci.runtime_spec import Mount

_RUNTIMES_OWN = ("dev", "proc", "sys")


def check_mount_points(rootfs: Path) -> None:
    """What runtimes fill must be a directory of the image's own, or absent. Raises InvalidArgument.

    Behind a /dev that is a symlink, runc 1.1.5 makes its links on the host, outside the root file system.
    """
    for name in _RUNTIMES_OWN:
        try:
            mode = os.lstat(rootfs / name).st_mode
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(mode):
            raise InvalidArgument(f"/{name} in the image is not a directory: it can't be run safely")


def settle_mount_points(
    rootfs: Path,
    mounts: Sequence[Mount],
    sources: Mapping[str, MountSource],
    *,
    owner: tuple[int, int] | None = None,
) -> list[Mount]:
    """The mounts with destinations as they are in the tree, symlinks followed, and the directories for them made.

    Runtimes follow and make them too, but crun follows no symlink that leads to nothing: /var/run to a /run that is
    missing would keep out the service account's volume. And where a mount really lands decides whether it may be.
    `sources`: those of the request, by destination; the runtime's and the pod's own mounts of files need their
    parent only. What lies below another mount is that one's, and left alone. `owner`: the uid and gid of what is made,
    if not root's. Raises InvalidArgument.
    """
    settled: list[Mount] = []
    places: set[str] = {f"/{name}" for name in _RUNTIMES_OWN}
    for mount in mounts:
        source = sources.get(mount.destination)
        place = mount.destination
        if not _below(place, places):
            place = _settle(rootfs, mount.destination, source, places, owner)
        if source is not None:
            check_place(place, source, mount.destination)
        settled.append(mount if place == mount.destination else msgspec.structs.replace(mount, destination=place))
        places.add(place)
    return in_order(settled)


def _below(path: str, places: Collection[str]) -> bool:
    while path != "/":
        if path in places:
            return True
        path = posixpath.dirname(path)
    return False


def _settle(
    rootfs: Path,
    destination: str,
    source: MountSource | None,
    places: Collection[str],
    owner: tuple[int, int] | None,
) -> str:
    try:
        return _existing(rootfs, destination, source)
    except FileNotFoundError:
        whole = source is not None and source.is_directory
        return _make(rootfs, destination if whole else posixpath.dirname(destination), destination, owner)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise _cannot(destination, error) from error
    place = _resolve(rootfs, destination, places)
    return place if place == "/" or _below(place, places) else _settle(rootfs, place, source, places, owner)


def _existing(rootfs: Path, destination: str, source: MountSource | None) -> str:
    """A destination that is there and needs no symlink: nothing to do. Raises FileNotFoundError, OSError ELOOP."""
    fd = open_in_root(rootfs, destination, os.O_PATH, follow=False)
    try:
        if source is not None and source.is_directory != stat.S_ISDIR(os.fstat(fd).st_mode):
            raise _unlike(destination, source)
    finally:
        os.close(fd)
    return destination


def _make(rootfs: Path, directory: str, destination: str, owner: tuple[int, int] | None) -> str:
    """The directory for a destination, or the one that a file is to be in; the runtime makes the file."""
    try:
        make_directories_in_root(rootfs, directory, owner=owner)
    except (NotADirectoryError, FileNotFoundError) as error:
        raise _cannot(destination, error) from error
    return destination


def _resolve(rootfs: Path, destination: str, places: Collection[str]) -> str:
    try:
        return resolve_in_root(rootfs, destination, stops=places)
    except OSError as error:
        raise _cannot(destination, error) from error


def _unlike(destination: str, source: MountSource) -> InvalidArgument:
    here, there = ("a directory", "is none") if source.is_directory else ("a file", "is a directory")
    return InvalidArgument(f"{source.path} is {here}, but {destination} in the image {there}", field="mounts")


def _cannot(destination: str, error: OSError) -> InvalidArgument:
    return InvalidArgument(f"{destination} can't be made in the image: {os.strerror(error.errno or 0)}", field="mounts")
