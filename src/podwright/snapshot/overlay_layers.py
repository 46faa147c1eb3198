"""Layers and stacks in directories: what images need of the snapshotter. `overlay.py` tells where things lie.

A layer is kept under its diff id and shared by all stacks it is in, because what is in its directory does not depend
on what lies beneath. The records are the truth: a directory without a record is deleted at start.

Unpacked files are not synced before a pull returns; that would cost as much as the pull. Instead a record
remembers in which boot it was written until a later sync has made its files durable, and a layer that was never
synced does not outlive that boot: after a power cut it is pulled again instead of being believed.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

import msgspec

from podwright.base.errors import InvalidArgument, NotFound
from podwright.base.files import disk_error
from podwright.base.ids import random_suffix
from podwright.base.locks import KeyedLocks
from podwright.base.log import get_logger
from podwright.base.tasks import Tasks, in_thread
from podwright.linux import syscalls as sys
from podwright.oci.digest import Digest
from podwright.snapshot.base import Layer, Usage
from podwright.snapshot.bridge import OPAQUE_XATTR, Odd, build_bridge
from podwright.snapshot.chain import chain_id
from podwright.snapshot.layer import BlobSource, Limits, Unpacker
from podwright.snapshot.layerjob import Report
from podwright.snapshot.overlay_mount import check_depth, open_overlay
from podwright.snapshot.trash import Trash
from podwright.state.boot import boot_id
from podwright.state.layout import Layout
from podwright.state.store import Store

log = get_logger(__name__)
EMPTY = "0"  # the stack of an image without layers


class LayerRecord(msgspec.Struct, frozen=True):
    """`name` is the directory. `unsynced_boot`: the boot it was written in, '' once its files are durable."""

    diff_id: Digest
    name: str
    size_bytes: int
    inodes: int
    root_described: bool
    implicit: list[bytes]
    opaque: list[bytes]
    links: list[tuple[bytes, bytes]]
    unsynced_boot: str

    @property
    def odd(self) -> Odd:
        return Odd(frozenset(self.implicit), frozenset(self.opaque), tuple(self.links))


class StackRecord(msgspec.Struct, frozen=True):
    """A committed stack. `names`: directories, the uppermost first. `root`: whose root directory's attributes count."""

    chain: list[Digest]
    names: list[str]
    root: str


class OverlayLayers:
    """Implements `base.LayerStore`. Called from the event loop's thread."""

    def __init__(self, layout: Layout, store: Store, limits: Limits) -> None:
        self._top = layout.snapshots
        self._layers_dir, self._staging = self._top / "layers", self._top / "staging"
        for directory in (self._layers_dir, self._staging, layout.trash):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._layers_dir / EMPTY).mkdir(mode=0o755, exist_ok=True)
        self._layers = store.table("layers", LayerRecord)
        self._stacks = store.table("stacks", StackRecord)
        self._tasks = Tasks("snapshots")
        self._trash = Trash(layout.trash, self._tasks)
        self._unpacker = Unpacker(limits)
        self._locks = KeyedLocks()
        self._boot = boot_id()
        self._syncing = False
        self._bridges_in_making: set[str] = set()
        self._last_name = max((int(name, 36) for name in os.listdir(self._layers_dir)), default=0)

    def _held(self) -> set[str]:
        """The stacks under containers."""
        return set()

    def layer(self, diff_id: Digest) -> Layer | None:
        record = self._layers.get(diff_id)
        return None if record is None else Layer(diff_id, record.size_bytes, record.inodes)

    def warm(self) -> None:
        self._unpacker.warm()

    async def apply(self, diff_id: Digest, blob: BlobSource) -> Layer:
        async with self._locks.hold(diff_id):
            if (present := self.layer(diff_id)) is not None:
                return present
            target = self._staging / random_suffix()
            try:
                target.mkdir(mode=0o755)
                report = await self._unpacker.unpack(blob, target)
                if report.diff_id != diff_id:
                    raise InvalidArgument(f"layer {blob.name} unpacks to {report.diff_id}, its image says {diff_id}")
                await in_thread(mark_opaque, target, report.opaque)
                self._publish(diff_id, target, report)
            except OSError as error:
                raise disk_error(error, self._top) from error
            finally:
                self._trash.put(target)  # nothing is there after success
            record = self._layers.get(diff_id)
            assert record is not None
            return Layer(diff_id, record.size_bytes, record.inodes)

    def _publish(self, diff_id: Digest, target: Path, report: Report) -> None:
        name = self._new_name()
        target.rename(self._layers_dir / name)
        record = LayerRecord(
            diff_id, name, report.disk_bytes, report.entries, b"" not in report.implicit,
            report.implicit, report.opaque, report.links, self._boot,
        )  # fmt: skip
        self._layers.put(diff_id, record)

    def _new_name(self) -> str:
        self._last_name += 1
        return _base36(self._last_name)

    def committed(self, chain: Sequence[Digest]) -> bool:
        return chain_id(chain) in self._stacks

    async def commit(self, chain: Sequence[Digest]) -> None:
        key = chain_id(chain)
        async with self._locks.hold(key):
            if key in self._stacks:
                return
            bridges: list[str] = []
            try:
                self._stacks.put(key, await self._stack(chain, bridges))
            finally:
                self._bridges_in_making.difference_update(bridges)
        self._sync_soon()

    async def _stack(self, chain: Sequence[Digest], bridges: list[str]) -> StackRecord:
        names: list[str] = []
        root = ""
        for diff_id in chain:
            layer = self._layers.get(diff_id)
            if layer is None:
                raise NotFound(f"layer {diff_id} is not unpacked")
            root = layer.name if layer.root_described else root
            lower = list(names)
            names.insert(0, layer.name)
            if lower and layer.odd.needs_bridge and (bridge := await self._bridge(layer, lower)):
                names.insert(0, bridge)
                bridges.append(bridge)
        check_depth(len(names))
        return StackRecord(list(chain), names or [EMPTY], root)

    async def _bridge(self, layer: LayerRecord, lower: list[str]) -> str:
        """The name of a new bridge above `layer`, '' when the layer fits as it is."""
        target, scratch = self._staging / random_suffix(), self._staging / random_suffix()
        target.mkdir(mode=0o755)
        scratch.mkdir(mode=0o700)
        try:
            if not await in_thread(self._build_bridge, target, layer, lower, scratch):
                return ""
            name = self._new_name()
            self._bridges_in_making.add(name)  # until the stack's record names it
            target.rename(self._layers_dir / name)
            return name
        except InvalidArgument as error:
            raise InvalidArgument(f"layer {layer.diff_id}: {error}") from error
        except OSError as error:
            raise disk_error(error, self._top) from error
        finally:
            self._trash.put(target)
            self._trash.put(scratch)

    def _build_bridge(self, target: Path, layer: LayerRecord, lower: list[str], scratch: Path) -> bool:
        lower_fd = open_overlay(self._layers_dir, lower, scratch)
        try:
            return build_bridge(target, self._layers_dir / layer.name, layer.odd, lower_fd)
        finally:
            os.close(lower_fd)

    def collect(self, keep: Collection[Sequence[Digest]]) -> int:
        kept_stacks = {chain_id(chain) for chain in keep} | self._held()
        kept_layers = {diff_id for chain in keep for diff_id in chain}
        for key, stack in self._stacks_by_key():
            if key in kept_stacks:
                kept_layers.update(stack.chain)
            else:
                self._stacks.delete(key)
        gone = [record for record in self._layers.values() if record.diff_id not in kept_layers]
        for record in gone:
            self._layers.delete(record.diff_id)
        self._trash_unnamed()
        return len(gone)

    def _stacks_by_key(self) -> list[tuple[str, StackRecord]]:
        return [(chain_id(stack.chain), stack) for stack in self._stacks.values()]

    def _trash_unnamed(self) -> None:
        """Directories that no record names: half-made ones after a crash, collected ones."""
        named = {EMPTY} | self._bridges_in_making | {record.name for record in self._layers.values()}
        for stack in self._stacks.values():
            named.update(stack.names)
        for name in os.listdir(self._layers_dir):
            if name not in named:
                self._trash.put(self._layers_dir / name)

    def discard(self, path: Path) -> None:
        self._trash.put(path)

    def usage_of_layers(self) -> Usage:
        records = self._layers.values()
        return Usage(sum(record.size_bytes for record in records), sum(record.inodes for record in records))

    def _recover_layers(self) -> None:
        """After a start: believe records that have their directories."""
        for record in list(self._layers.values()):
            if record.unsynced_boot not in ("", self._boot):
                log.warning("a layer may not have reached the disk before the machine went down", layer=record.diff_id)
                self._layers.delete(record.diff_id)
            elif not (self._layers_dir / record.name).is_dir():
                log.warning("a layer's directory is gone", layer=record.diff_id)
                self._layers.delete(record.diff_id)
        here = set(os.listdir(self._layers_dir))
        for key, stack in self._stacks_by_key():
            if not here.issuperset(stack.names) or any(d not in self._layers for d in stack.chain):
                self._stacks.delete(key)

    def _sync_soon(self) -> None:
        if not self._syncing:
            self._syncing = True
            self._tasks.start(self._sync(), name="sync layers")

    async def _sync(self) -> None:
        try:
            while unsynced := [record for record in self._layers.values() if record.unsynced_boot]:
                await in_thread(_sync_file_system, self._layers_dir)
                for record in unsynced:
                    if record.diff_id in self._layers:
                        self._layers.put(record.diff_id, msgspec.structs.replace(record, unsynced_boot=""))
        finally:
            self._syncing = False

    async def close(self) -> None:
        """End the worker, finish what is being deleted or synced if that takes seconds only."""
        await self._unpacker.close()
        await self._tasks.drain(10.0)
        await self._tasks.close()


def mark_opaque(tree: Path, paths: Collection[bytes]) -> None:
    """overlayfs's mark of directories that hide what is beneath. Made here because it takes CAP_SYS_ADMIN.

    The paths come from the sandboxed child, so no symlink in the tree is followed.
    """
    if not paths:
        return
    root_fd = os.open(tree, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for path in paths:
            resolve = partial(sys.openat2, root_fd, path or b".", os.O_RDONLY | os.O_DIRECTORY)
            fd = resolve(0, sys.RESOLVE_BENEATH | sys.RESOLVE_NO_SYMLINKS | sys.RESOLVE_NO_XDEV)
            try:
                os.setxattr(fd, OPAQUE_XATTR, b"y")
            finally:
                os.close(fd)
    finally:
        os.close(root_fd)


def _sync_file_system(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sys.syncfs(fd)
    finally:
        os.close(fd)


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits
