"""A root file system made ready for the runtime's mounts. create.py calls it when the file system is mounted.

The image is somebody else's: what its symlinks lead to is found and made inside the tree, by the kernel's own
confinement, so that no runtime has to follow them itself.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from podwright.base.errors import InvalidArgument
from podwright.container.spec.facts import MountSource
from podwright.linux.paths import make_directories_in_root, open_in_root
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


def make_mount_points(rootfs: Path, mounts: Iterable[Mount], sources: Mapping[str, MountSource]) -> None:
    """Make the directories that mounts need. Raises InvalidArgument.

    Runtimes make them too, but crun follows no symlink that leads to nothing: /var/run to a /run that is missing
    would keep out the service account's volume. `sources`: those of the request, by destination; the runtime's and
    the pod's own mounts of files need their parent only.
    """
    for mount in mounts:
        source = sources.get(mount.destination)
        whole = source is not None and source.is_directory
        directory = mount.destination if whole else posixpath.dirname(mount.destination)
        if directory.split("/")[1] in _RUNTIMES_OWN:
            continue
        try:
            os.close(open_in_root(rootfs, directory, os.O_PATH))
        except FileNotFoundError:
            _make(rootfs, directory, mount.destination)


def _make(rootfs: Path, directory: str, destination: str) -> None:
    try:
        make_directories_in_root(rootfs, directory)
    except (NotADirectoryError, FileNotFoundError) as error:
        raise InvalidArgument(f"{destination} can't be made in the image: {error.strerror}", field="mounts") from error
