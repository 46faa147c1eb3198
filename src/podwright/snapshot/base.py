"""What a snapshotter is: the Protocols that image and container code see, and their data. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from podwright.linux.idmap import IdMaps
from podwright.oci.digest import Digest
from podwright.snapshot.difference import Output
from podwright.snapshot.layer import BlobSource


@dataclass(frozen=True)
class Layer:
    """A layer that is unpacked: what it takes on disk."""

    diff_id: Digest
    size_bytes: int
    inodes: int


@dataclass(frozen=True)
class Usage:
    """What a tree takes on disk: allocated bytes, and inodes."""

    bytes: int
    inodes: int


class LayerStore(Protocol):
    """Where layers are unpacked to: the image room's view.

    A layer is unpacked once, whatever images share it, and any number at the same time: `apply` reads a blob, in a
    sandbox, into a directory that nobody sees, verifies the diff id, and commits. Before that there is no such layer;
    after an error or a crash nothing of it is left. Layers know nothing of each other, so `commit` makes the stack:
    it looks for what a layer leaves to those beneath it (directories that it uses and does not describe, links to
    files that it does not hold) and settles that once. Only a committed stack can be mounted.

    What is not to be kept any longer is the caller's to know: `collect` deletes all layers and stacks that are in
    neither the caller's stacks nor a container's.

    All calls are idempotent. Errors: see `layer.Unpacker.unpack`; InvalidArgument for a diff id that doesn't match.
    """

    def layer(self, diff_id: Digest) -> Layer | None:
        """An unpacked layer."""

    async def apply(self, diff_id: Digest, blob: BlobSource) -> Layer:
        """Unpack a layer; at once when it is there."""

    def committed(self, chain: Sequence[Digest]) -> bool:
        """Whether the stack of these layers (the lowest first) can be mounted."""

    async def commit(self, chain: Sequence[Digest]) -> None:
        """Make the stack of layers that are all unpacked. Raises NotFound, InvalidArgument."""

    def collect(self, keep: Collection[Sequence[Digest]]) -> int:
        """Delete every stack that is neither in `keep` nor under a container, and every layer of no stack or `keep`.

        Gives the number of layers that are gone.
        """

    def warm(self) -> None:
        """Something will be unpacked soon."""

    def discard(self, path: Path) -> None:
        """Delete a file or tree of the same file system in the background; it is gone from its place at once."""

    def usage_of_layers(self) -> Usage:
        """What all layers take, from records: no disk is asked."""


class Snapshotter(Protocol):
    """Where containers get their root file systems from: the container room's view.

    `prepare(key, chain)` gives container `key` a writable directory of its own over a committed stack; nothing is
    mounted yet. `mount(key, target)` shows the union at `target`, writable at one target only. What is written goes
    to the container's directory and is there after an unmount, a restart of the daemon and of the machine. `remove`
    forgets the key and deletes in the background. Layers under a prepared key are kept, whatever becomes of images.

    `prepare`, `mount`, `unmount` take well under a millisecond and are called in the event loop's thread; `mount` with
    `userns` takes longer, and may be called in another one. All calls are idempotent.
    """

    def prepare(self, key: str, chain: Sequence[Digest], *, maps: IdMaps | None = None) -> None:
        """Make the container's directories. Raises NotFound when the stack isn't committed, ResourceExhausted.

        `maps`: those of the user namespace the container is in, which its root directory has to belong to.
        """

    def mount(
        self, key: str, target: Path, *, read_only: bool = False, userns: Path | None = None, label: str = ""
    ) -> None:
        """Mount the union at the directory `target`. Raises NotFound for an unknown key, Internal.

        `read_only`: a mount that is independent of all others, of which there may be any number for one key.
        `userns`: the user namespace, pinned there, whose ids the image's files show. `label`: the SELinux context that
        all files show.
        """

    def unmount(self, target: Path) -> None:
        """Unmount what is mounted at `target`; nothing there is success."""

    def prepared(self) -> Collection[str]:
        """The keys of all that are prepared."""

    async def remove(self, key: str) -> None:
        """Forget `key`; unmount first. An unknown key is success."""

    def usage(self, key: str) -> Usage:
        """What the container wrote. Walks its directory: call it in a thread. Raises NotFound."""

    def write_difference(self, key: str, out: Output) -> None:
        """What the container wrote, as a layer without compression. In a thread, and with nobody writing meanwhile.

        Raises NotFound, FailedPrecondition, and what `out.write` raises.
        """

    async def unpack(self, archive: BlobSource, target: Path) -> Digest:
        """Any archive into the empty directory `target`, in the sandbox that layers have; its plain bytes' digest.

        Errors are those of `layer.Unpacker.unpack`; the caller removes what is left.
        """

    async def apply_difference(self, key: str, layer: BlobSource) -> None:
        """Fill a container's directory, prepared and not mounted yet, with what `write_difference` gave.

        The layer is as hostile as any other: errors are those of `layer.Unpacker.unpack`.
        """

    @property
    def mountpoint(self) -> Path:
        """A path on the file system that layers and containers take space of."""
