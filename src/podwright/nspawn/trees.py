"""The host's side of a container's mounts: detached trees, that the first step moves to where they belong.

A tree keeps what the source is, whatever happens to its path, and stays a peer of the source's mounts where these are
shared: so propagation is the configuration's choice. open_tree(2), mount_setattr(2), mount_namespaces(7).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

from podwright.base.errors import InvalidArgument
from podwright.cgroup.detect import Hierarchies
from podwright.linux import syscalls as sys
from podwright.nspawn import mount_options
from podwright.nspawn.mount_options import MountOptions
from podwright.nspawn.plan import FURTHER, MountStep
from podwright.oci.runtime_spec import Mount


class Trees:
    """Descriptors that go to the first step, numbered there from FURTHER on in the order they come."""

    def __init__(self) -> None:
        self.descriptors: list[int] = []

    def add(self, descriptor: int) -> int:
        """The descriptor's number there; it is ours to close here."""
        self.descriptors.append(descriptor)
        return FURTHER + len(self.descriptors) - 1

    def clone(self, source: Path | str, *, recursive: bool = False) -> int:
        """A tree of what is at `source` now. Raises InvalidArgument."""
        flags = sys.OPEN_TREE_CLONE | sys.OPEN_TREE_CLOEXEC | (sys.AT_RECURSIVE if recursive else 0)
        try:
            return self.add(sys.open_tree(sys.AT_FDCWD, os.fspath(source), flags))
        except OSError as error:
            raise InvalidArgument(f"mounts: {source} can't be mounted: {os.strerror(error.errno or 0)}") from error

    def close(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors.clear()


class OwnCgroups(NamedTuple):
    """A container's own cgroup: directories by the name that its mount has for them; `unified`: that of cgroup v2 where
    there is no other. `namespace`: whether it has a cgroup namespace of its own."""

    directories: dict[str, str]
    unified: str
    namespace: bool


def steps(mounts: list[Mount], bundle: Path, trees: Trees, cgroups: OwnCgroups) -> list[MountStep]:
    """What the first step does about mounts[], in their order."""
    found = []
    for mount in mounts:
        options = mount_options.parse(mount.options)
        if options.bind or mount.type in ("bind", "rbind"):
            found.append(_bind(mount, options, bundle, trees))
        elif mount.type == "cgroup":
            found.append(_cgroup(mount, options, trees, cgroups))
        else:
            found.append(
                MountStep(
                    mount.destination, source=mount.source or mount.type, fstype=mount.type, flags=options.flags,
                    data=options.data, propagation=options.propagation,
                )
            )  # fmt: skip
    return found


def _bind(mount: Mount, options: MountOptions, bundle: Path, trees: Trees) -> MountStep:
    source = bundle / mount.source
    number = trees.clone(source, recursive=options.recursive or mount.type == "rbind")
    tree = trees.descriptors[-1]
    _set_attributes(tree, options)
    return MountStep(
        mount.destination, tree=number, is_directory=stat.S_ISDIR(os.fstat(tree).st_mode),
        propagation=options.propagation or sys.MS_PRIVATE | sys.MS_REC,
    )  # fmt: skip


def _set_attributes(tree: int, options: MountOptions) -> None:
    if options.set_attributes or options.clear_attributes:
        sys.mount_setattr(
            tree, "", sys.AT_EMPTY_PATH, attr_set=options.set_attributes, attr_clr=options.clear_attributes
        )  # fmt: skip
    if options.recursive_set or options.recursive_clear:
        flags = sys.AT_EMPTY_PATH | sys.AT_RECURSIVE
        sys.mount_setattr(tree, "", flags, attr_set=options.recursive_set, attr_clr=options.recursive_clear)


def _cgroup(mount: Mount, options: MountOptions, trees: Trees, cgroups: OwnCgroups) -> MountStep:
    """cgroup v2: its own cgroup. v1: a tmpfs with its own cgroup of each hierarchy, as runc does."""
    if cgroups.unified and cgroups.namespace:  # which has that for its root; nspawn makes one of its own in v2
        return MountStep(
            mount.destination, source="cgroup", fstype="cgroup2", flags=options.flags, propagation=options.propagation
        )  # fmt: skip
    if cgroups.unified:
        number = trees.clone(cgroups.unified)
        _set_attributes(trees.descriptors[-1], options)
        return MountStep(mount.destination, tree=number, propagation=sys.MS_PRIVATE | sys.MS_REC)
    members = {}
    for name, directory in cgroups.directories.items():
        members[name] = trees.clone(directory)
        _set_attributes(trees.descriptors[-1], options)
    return MountStep(
        mount.destination, fstype="tmpfs", source="tmpfs", flags=options.flags, data="mode=755", members=members
    )  # fmt: skip


def own_cgroups(hierarchies: Hierarchies, path: str, *, namespace: bool) -> OwnCgroups:
    """Of a container whose cgroup is at `path`."""
    if hierarchies.version == "v2":
        return OwnCgroups({}, hierarchies.unified + path, namespace)
    return OwnCgroups({Path(top).name: top + path for top in hierarchies.controllers.values()}, "", namespace)
