"""Layers and container file systems in directories, put together by overlayfs.

    snapshots/layers/1f              an unpacked layer, or a bridge (see bridge.py); short names, see overlay_mount.py
    snapshots/staging/…              a layer on its way; nothing survives a restart
    snapshots/containers/KEY/upper   what container KEY writes; `work` beside it is overlayfs's own

Layers, and stacks of them, are in overlay_layers.py; here is what containers have over them. The records are the
truth: a directory without a record is deleted at start.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from podwright.base.errors import Internal, InvalidArgument, NotFound, PodwrightError
from podwright.base.files import disk_error
from podwright.base.ids import random_suffix
from podwright.base.tasks import in_thread
from podwright.linux import mounts
from podwright.linux.idmap import IdMaps, IdRange
from podwright.linux.userns import user_namespace
from podwright.oci.digest import Digest
from podwright.snapshot.base import Usage
from podwright.snapshot.bridge import copy_attributes
from podwright.snapshot.chain import chain_id
from podwright.snapshot.difference import Output, write_difference
from podwright.snapshot.disk_usage import disk_usage
from podwright.snapshot.layer import BlobSource, Limits
from podwright.snapshot.overlay_layers import EMPTY, OverlayLayers, StackRecord, mark_opaque
from podwright.snapshot.overlay_mount import mount_overlay, own_as_mapped
from podwright.state.layout import Layout
from podwright.state.store import Store

_PROBED_ID = 1  # any but 0: a map that changes nothing is none to the kernel


class SnapshotRecord(msgspec.Struct, frozen=True):
    """A container's snapshot, over the stack `chain_id`."""

    chain_id: str


class OverlaySnapshotter(OverlayLayers):
    """Implements `base.Snapshotter`, and `base.LayerStore` by what it is made of. Called from the event loop's thread,
    but for `usage`."""

    def __init__(self, layout: Layout, store: Store, limits: Limits | None = None) -> None:
        super().__init__(layout, store, limits or Limits())
        self._containers = self._top / "containers"
        self._containers.mkdir(mode=0o700, exist_ok=True)
        self._snapshots = store.table("snapshots", SnapshotRecord)

    def _held(self) -> set[str]:
        return {record.chain_id for record in self._snapshots.values()}

    def prepare(self, key: str, chain: Sequence[Digest], *, maps: IdMaps | None = None) -> None:
        stack_key = chain_id(chain)
        stack = self._stacks.get(stack_key)
        if stack is None:
            raise NotFound(f"the image's layers ({stack_key or 'none'}) are not here: pull the image again")
        known = self._snapshots.get(key)
        if known is not None and known.chain_id != stack_key:
            raise Internal(f"snapshot {key} exists over another image")
        directory = self._containers / key
        if known is None:
            self._snapshots.put(key, SnapshotRecord(stack_key))
        try:
            for part, mode in (("", 0o700), ("upper", 0o755), ("work", 0o700)):
                (directory / part).mkdir(mode=mode, exist_ok=True)
            if known is None and stack.root:
                _copy_root(self._layers_dir / stack.root, directory / "upper")
            if known is None and maps is not None:
                own_as_mapped(directory / "upper", maps)
        except OSError as error:
            raise disk_error(error, directory) from error

    def mount(
        self, key: str, target: Path, *, read_only: bool = False, userns: Path | None = None, label: str = ""
    ) -> None:
        record = self._snapshots.get(key)
        stack = self._stacks.get(record.chain_id) if record else None
        if stack is None:
            raise NotFound(f"snapshot {key} does not exist")
        if target.stat().st_dev != target.parent.stat().st_dev:
            return  # mounted already
        writable = self._containers / key
        names = self._names_of_view(key, stack, mapped=userns is not None) if read_only else stack.names
        try:
            mount_overlay(
                self._layers_dir, names, target, writable=None if read_only else writable, read_only=read_only,
                userns=userns, label=label,
            )  # fmt: skip
        except OSError as error:
            raise Internal(f"can't mount the file system of {key}: {error}") from error

    def _names_of_view(self, key: str, stack: StackRecord, *, mapped: bool) -> list[str]:
        """Directories for a mount that never writes, and of which there may be many: none is the upper one.

        The snapshot's own shows the root directory's attributes; but not to a user namespace, whose ids it has not.
        At least two: overlayfs wants that.
        """
        if mapped:
            return list(dict.fromkeys([*stack.names, EMPTY]))
        return [os.path.relpath(self._containers / key / "upper", self._layers_dir), *stack.names]

    def unmount(self, target: Path) -> None:
        mounts.unmount(target)

    def prepared(self) -> list[str]:
        return list(self._snapshots.keys())

    async def remove(self, key: str) -> None:
        self._trash.put(self._containers / key)
        self._snapshots.delete(key)

    def usage(self, key: str) -> Usage:
        return disk_usage(self._upper(key))

    def write_difference(self, key: str, out: Output) -> None:
        write_difference(self._upper(key), out)

    async def apply_difference(self, key: str, layer: BlobSource) -> None:
        upper = self._upper(key)
        for name in os.listdir(upper):
            raise Internal(f"snapshot {key} has been written to already: {name}")
        report = await self._unpacker.unpack(layer, upper)
        if report.links:
            raise InvalidArgument(f"{layer.name}: hard link to {os.fsdecode(report.links[0][1])!r}, which is not in it")
        await in_thread(mark_opaque, upper, report.opaque)

    def _upper(self, key: str) -> Path:
        upper = self._containers / key / "upper"
        if not upper.is_dir():
            raise NotFound(f"snapshot {key} does not exist")
        return upper

    async def unpack(self, archive: BlobSource, target: Path) -> Digest:
        """Any archive into the empty directory `target`, in the sandbox that layers have; its plain bytes' digest."""
        return Digest((await self._unpacker.unpack(archive, target)).diff_id)

    @property
    def mountpoint(self) -> Path:
        return self._top

    @property
    def staging(self) -> Path:
        """For what must not survive a restart of the daemon."""
        return self._staging

    async def idmap_problem(self) -> str:
        """Why containers can't be put into user namespaces here; '' when they can. Found out by doing it."""
        maps = IdMaps((IdRange(0, _PROBED_ID, 1),), (IdRange(0, _PROBED_ID, 1),))
        probe = self._staging / random_suffix()
        try:
            for part in ("", "upper", "work", "rootfs"):
                (probe / part).mkdir(mode=0o700)
            async with user_namespace(maps) as pid:
                userns = Path(f"/proc/{pid}/ns/user")
                mount_overlay(self._layers_dir, [EMPTY], probe / "rootfs", writable=probe, userns=userns)
            return ""
        except (PodwrightError, OSError) as error:
            return str(error)
        finally:
            mounts.unmount(probe / "rootfs")
            self._trash.put(probe)

    def recover(self) -> None:
        """After a start: believe records that have their directories, delete directories that have no record."""
        self._recover_layers()
        containers = set(os.listdir(self._containers))
        for key in set(self._snapshots.keys()) - containers:
            self._snapshots.delete(key)
        for key in containers - set(self._snapshots.keys()):
            self._trash.put(self._containers / key)
        mounts.unmount_tree(self._staging)  # open_overlay's, where the kernel is old
        for name in os.listdir(self._staging):
            self._trash.put(self._staging / name)
        self._trash_unnamed()
        self._trash.empty()


def _copy_root(source: Path, target: Path) -> None:
    """The root directory of a container is that of its image: the upper directory's attributes are what shows."""
    fds = [os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) for path in (source, target)]
    try:
        copy_attributes(*fds)
    finally:
        for fd in fds:
            os.close(fd)
