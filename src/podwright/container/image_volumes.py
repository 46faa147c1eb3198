"""Image volumes: an image's files, read-only, at a path of a container (KEP-4639).

An image that is mounted has one view, below `layout.image_volumes`, which all containers share: its layers, held by a
snapshot of its own, so that they stay when the image is removed. Which images a container mounts is in its record
before anything is mounted; who uses a view is read off the records, and the last container takes it down. The mounts
outlive the daemon, as containers do.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from podwright.base.errors import InvalidArgument, PodwrightError, PrefixedError
from podwright.base.log import get_logger
from podwright.container.collaborators import Collaborators
from podwright.container.model import Container, ImageVolume
from podwright.criapi import api_pb2 as pb
from podwright.image.model import ImageRecord
from podwright.image.service import Images
from podwright.linux.paths import open_in_root
from podwright.security import selinux
from podwright.state.layout import Layout

log = get_logger(__name__)

_PREFIX = "volume-"


def find_image_volumes(images: Images, mounts: Iterable[pb.Mount]) -> tuple[ImageVolume, ...]:
    """Which mounts are images, and which images. Raises InvalidArgument, PrefixedError ImageVolumeMountFailed."""
    return tuple(ImageVolume(at, _find(images, mount, at).id) for at, mount in enumerate(mounts) if mount.image.image)


def _find(images: Images, mount: pb.Mount, at: int) -> ImageRecord:
    check_image_volume(mount, at)
    return found_image(images.get(mount.image.image), mount, at)


def found_image(image: ImageRecord | None, mount: pb.Mount, at: int) -> ImageRecord:
    """The image that mount number `at` names. Raises PrefixedError ImageVolumeMountFailed when it isn't here."""
    if image is None:
        raise failed(at, f"image {mount.image.image!r} is not here: pull it first")
    return image


def check_image_volume(mount: pb.Mount, at: int) -> None:
    """What an image volume may ask for. Raises InvalidArgument."""
    field = f"mounts[{at}]"
    if mount.host_path:
        raise InvalidArgument("an image volume can't have a host_path", field=field)
    if not mount.readonly:
        raise InvalidArgument("an image volume must be readonly", field=field)
    if mount.propagation == pb.PROPAGATION_BIDIRECTIONAL:
        raise InvalidArgument("an image volume can't have bidirectional propagation", field=field)
    if mount.image_sub_path.startswith("/") or ".." in mount.image_sub_path.split("/"):
        raise InvalidArgument(
            f"image_sub_path {mount.image_sub_path!r} must be a path below the image's root, without ..", field=field
        )


async def mount_image_volumes(on: Collaborators, container: Container, userns: Path | None) -> dict[int, Path]:
    """What to bind for each image volume, by the mount's number. Raises PrefixedError ImageVolumeMountFailed.

    In a user namespace, pinned at `userns`, files have other owners: such a container has views of its own, in its
    bundle, which go with that.
    """
    return {volume.at: await _mount(on, container, volume, userns) for volume in container.record.image_volumes}


async def _mount(on: Collaborators, container: Container, volume: ImageVolume, userns: Path | None) -> Path:
    view = view_of(on.layout, volume.image_id) if userns is None else _own_view(on, container, volume)
    async with on.locks.hold(_lock(volume.image_id)):
        try:
            image = on.images.get(volume.image_id)
            if image is None:
                raise failed(volume.at, f"image {volume.image_id} was removed meanwhile")
            view.mkdir(mode=0o700, exist_ok=True)
            on.snapshots.prepare(_key(volume.image_id), image.diff_ids)
            label = view_label()
            on.snapshots.mount(_key(volume.image_id), view, read_only=True, userns=userns, label=label)
        except PrefixedError:
            raise
        except (PodwrightError, OSError) as error:
            raise failed(volume.at, str(error)) from error
    sub_path = container.config.mounts[volume.at].image_sub_path
    return inside(view, sub_path, volume.at) if sub_path else view


def view_label() -> str:
    """The SELinux context of a view. It is of several pods, so it has no pod's categories."""
    return selinux.file_label(selinux.Options(), pod_level="") if selinux.available() else ""


def inside(view: Path, sub_path: str, at: int) -> Path:
    """A directory or file of the image, symlinks followed within the image. Nobody can change it afterwards."""
    try:
        fd = open_in_root(view, sub_path, os.O_PATH)
    except OSError as error:
        raise failed(at, f"image_sub_path {sub_path!r} in the image: {os.strerror(error.errno or 0)}") from error
    try:
        if stat.S_IFMT(os.fstat(fd).st_mode) not in (stat.S_IFDIR, stat.S_IFREG):
            raise failed(at, f"image_sub_path {sub_path!r} in the image is neither a directory nor a file")
        return Path(f"/proc/self/fd/{fd}").readlink()
    finally:
        os.close(fd)


async def release_image_volumes(on: Collaborators, container: Container) -> None:
    """The container needs its image volumes no longer: take down those that no other one needs. Idempotent."""
    for image_id in {volume.image_id for volume in container.record.image_volumes}:
        async with on.locks.hold(_lock(image_id)):
            if not any(other.mounts_image(image_id) for other in on.containers if other.id != container.id):
                await _take_down(on, image_id)


async def sweep_image_volumes(on: Collaborators) -> None:
    """After a start: views that no container's record names, and snapshots, which a boot does not take away."""
    found = {image_of(view) for view in on.layout.image_volumes.iterdir()}
    found |= {f"sha256:{key.removeprefix(_PREFIX)}" for key in on.snapshots.prepared() if is_key_of_volume(key)}
    for image_id in found:
        if not any(container.mounts_image(image_id) for container in on.containers):
            log.info("an orphaned image volume is removed", image=image_id)
            await _take_down(on, image_id)


async def _take_down(on: Collaborators, image_id: str) -> None:
    view = view_of(on.layout, image_id)
    on.snapshots.unmount(view)
    await on.snapshots.remove(_key(image_id))
    if view.exists():
        view.rmdir()


def view_of(layout: Layout, image_id: str) -> Path:
    """Where an image is shown to all that mount it."""
    return layout.image_volumes / image_id.replace(":", "-")


def _own_view(on: Collaborators, container: Container, volume: ImageVolume) -> Path:
    directory = on.layout.bundle(container.id) / "image-volumes"
    directory.mkdir(mode=0o711, exist_ok=True)
    return directory / str(volume.at)


def image_of(view: Path) -> str:
    """The id of the image that a view shows."""
    return view.name.replace("-", ":")


def _key(image_id: str) -> str:
    """The snapshot that holds the image's layers; a container's id has no such prefix."""
    return _PREFIX + image_id.partition(":")[2]


def is_key_of_volume(key: str) -> bool:
    """Whether a snapshot is an image volume's, not a container's."""
    return key.startswith(_PREFIX)


def _lock(image_id: str) -> tuple[str, str]:
    return ("image volume", image_id)


def failed(at: int, message: str) -> PrefixedError:
    return PrefixedError("ImageVolumeMountFailed", f"mounts[{at}]: {message}")
