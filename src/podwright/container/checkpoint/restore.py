"""A pod's checkpoint read again. Whatever its origin, it is taken for hostile.

Archives are unpacked in the sandbox that layers are unpacked in, and what comes out is looked at before anybody uses
it. Of what it says, only processes and files count. Mounts, devices, labels, annotations, limits and the log come
from the request alone (CVE-2024-8676, CVE-2026-53489, CVE-2026-53492). Credentials can't: CRIU gives processes back
those that they had. So the request has to ask for the same, and the files have to be root's alone.
"""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from podwright.base.errors import InvalidArgument, PermissionDenied, ResourceExhausted
from podwright.base.files import remove_tree
from podwright.base.ids import random_suffix
from podwright.base.tasks import in_thread, shielded
from podwright.container.checkpoint import archive
from podwright.container.checkpoint.manifest import Archive, read_manifest
from podwright.container.checkpoint.output import real_directory
from podwright.container.collaborators import Collaborators
from podwright.oci.runtime_spec import Spec
from podwright.snapshot.layer import BlobSource

FIELD = "checkpoint_path"
_SPEC_LIMIT_BYTES = 16 * 1024 * 1024
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
# What CRIU restores as it was, whatever the new configuration says.
_KEPT = {
    "process": ("user", "capabilities", "noNewPrivileges", "apparmorProfile", "selinuxLabel", "rlimits"),
    "linux": ("seccomp", "maskedPaths", "readonlyPaths"),
}


@dataclass(frozen=True)
class Restore:
    """One container's archive of the pod's `checkpoint`, unpacked and looked at."""

    checkpoint: str
    directory: Path
    image_id: str

    @property
    def images(self) -> Path:
        return self.directory / archive.IMAGES

    @property
    def difference(self) -> Path:
        return self.directory / archive.DIFFERENCE


@asynccontextmanager
async def unpacked(
    on: Collaborators, path: str, names: Collection[str], *, max_bytes: int
) -> AsyncIterator[dict[str, Restore]]:
    """The archives of a pod's checkpoint by container name, for as long as the block lasts.

    Raises InvalidArgument (other containers than `names`, damage), PermissionDenied, ResourceExhausted.
    """
    top = on.layout.restore(f"unpack-{random_suffix()}")
    with real_directory(path, FIELD) as directory:
        _require_ours(os.fstat(directory), path)
        archives = read_manifest(directory).containers
        _require_names({entry.name for entry in archives}, set(names))
        try:
            top.mkdir(mode=0o700, parents=True)
            yield {e.name: Restore(path, await _unpack(on, directory, e, top, max_bytes), e.image_id) for e in archives}
        finally:
            await shielded(in_thread(remove_tree, top), name="remove unpacked checkpoint")


def _require_ours(info: os.stat_result, path: str) -> None:
    """Who can write a checkpoint is root on the machine that restores it, so nobody else may be able to."""
    if info.st_uid != 0 or info.st_mode & _OTHERS_MAY_WRITE:
        raise PermissionDenied(f"{FIELD}: {path} can be written by others than root: chown root, chmod go-w")


def _require_names(found: set[str], wanted: set[str]) -> None:
    if found != wanted:
        raise InvalidArgument(
            f"the checkpoint has the containers {', '.join(sorted(found))}, the request {', '.join(sorted(wanted))}",
            field="container_configs",
        )


async def _unpack(on: Collaborators, directory: int, entry: Archive, top: Path, max_bytes: int) -> Path:
    target = top / entry.file.removesuffix(".tar")
    target.mkdir(mode=0o755)
    try:
        fd = os.open(entry.file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except OSError as error:
        raise InvalidArgument(f"{entry.file}: {error.strerror}", field=FIELD) from error
    try:
        info = os.fstat(fd)
        _require_ours(info, entry.file)
        if not stat.S_ISREG(info.st_mode) or info.st_size != entry.size:
            raise InvalidArgument(f"{entry.file} is not the file of {entry.size} bytes that it was", field=FIELD)
        if info.st_size > max_bytes:
            raise ResourceExhausted(f"{entry.file} has more than {max_bytes} bytes (checkpoint.max_bytes)")
        digest = await on.snapshots.unpack(BlobSource(entry.file, fd), target)
    finally:
        os.close(fd)
    if digest != entry.digest:
        raise InvalidArgument(f"{entry.file} has digest {digest}, not {entry.digest}", field=FIELD)
    check_unpacked(target, entry.file)
    return target


def check_unpacked(directory: Path, name: str) -> None:
    """CRIU opens what is called like its image files, so nothing but files may be there. Raises InvalidArgument."""
    wanted = [directory / archive.DIFFERENCE, directory / archive.SPEC]
    images = directory / archive.IMAGES
    if not stat.S_ISDIR(_mode(images)):
        raise InvalidArgument(f"{name}: {archive.IMAGES} is no directory", field=FIELD)
    for path in (*wanted, *images.iterdir()):
        if not stat.S_ISREG(_mode(path)):
            raise InvalidArgument(f"{name}: {path.relative_to(directory)} is no regular file", field=FIELD)


def _mode(path: Path) -> int:
    try:
        return path.lstat().st_mode
    except FileNotFoundError:
        return 0


async def fill(on: Collaborators, container_id: str, restore: Restore) -> None:
    """What the container had written, into its prepared snapshot; and CRIU's files to where its start finds them."""
    fd = os.open(restore.difference, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        await on.snapshots.apply_difference(container_id, BlobSource(archive.DIFFERENCE, fd))
    finally:
        os.close(fd)
    restore.images.rename(on.layout.restore(container_id))


def check_same(spec: Spec, restore: Restore) -> None:
    """Raises InvalidArgument when the request wants other credentials than the processes come back with."""
    path = restore.directory / archive.SPEC
    if path.stat().st_size > _SPEC_LIMIT_BYTES:
        raise InvalidArgument(f"{archive.SPEC} is too large", field=FIELD)
    try:
        dumped = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{archive.SPEC} can't be read: {error}", field=FIELD) from error
    wanted = msgspec.json.decode(msgspec.json.encode(spec), type=dict[str, Any])
    for section, keys in _KEPT.items():
        before, now = _table(dumped, section), _table(wanted, section)
        for key in keys:
            if before.get(key) != now.get(key):
                raise InvalidArgument(
                    f"{section}.{key} would differ from what was checkpointed, and restored processes keep what they "
                    "had: ask for the same",
                    field="container_configs",
                )


def _table(spec: dict[str, Any], section: str) -> dict[str, Any]:
    table = spec.get(section)
    return table if isinstance(table, dict) else {}
