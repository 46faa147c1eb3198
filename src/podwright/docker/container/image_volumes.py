"""Image volumes on a Docker Engine: its API can't mount images, but overlay2 says where their layers lie.

As with the native backend, an image that is mounted has one read-only view, below `layout.image_volumes`, which all
containers share; here it lies over the engine's own layers. Which images a container mounts is in its record before
anything is mounted, and the last container takes the view down. An image that is mounted is not removed by us; who
removes it by `docker rmi` takes its files away.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from podwright.base.errors import PodwrightError, PrefixedError
from podwright.base.log import get_logger
from podwright.base.tasks import in_thread
from podwright.container.image_volumes import (
    check_image_volume,
    failed,
    found_image,
    image_of,
    inside,
    view_label,
    view_of,
)
from podwright.container.model import Container, ImageVolume
from podwright.criapi import api_pb2 as pb
from podwright.docker.collaborators import Collaborators
from podwright.docker.errors import NoSuchObject
from podwright.linux.mounts import bind, is_mount_point, unmount
from podwright.snapshot.overlay_mount import mount_overlay

log = get_logger(__name__)
_DRIVER = "overlay2"


class _Driver(msgspec.Struct, rename="pascal", frozen=True):
    name: str = ""
    data: dict[str, str] | None = None


class _Image(msgspec.Struct, rename="pascal"):
    """GET /images/NAME/json, where its files are."""

    graph_driver: _Driver = _Driver()


async def find_image_volumes(on: Collaborators, mounts: Iterable[pb.Mount]) -> tuple[ImageVolume, ...]:
    """Which mounts are images, and which images. Raises InvalidArgument, PrefixedError ImageVolumeMountFailed."""
    volumes = []
    for at, mount in enumerate(mounts):
        if mount.image.image:
            check_image_volume(mount, at)
            volumes.append(ImageVolume(at, found_image(await on.images.find(mount.image.image), mount, at).id))
    return tuple(volumes)


async def mount_image_volumes(on: Collaborators, container: Container) -> dict[int, Path]:
    """What to bind for each image volume, by the mount's number. Raises PrefixedError ImageVolumeMountFailed."""
    return {volume.at: await _mount(on, container, volume) for volume in container.record.image_volumes}


async def _mount(on: Collaborators, container: Container, volume: ImageVolume) -> Path:
    view = view_of(on.layout, volume.image_id)
    async with on.locks.hold(_lock(volume.image_id)):
        try:
            layers = await _layers(on, volume)
            await in_thread(_show, layers, view)
        except PrefixedError:
            raise
        except (PodwrightError, OSError) as error:
            raise failed(volume.at, str(error)) from error
    sub_path = container.config.mounts[volume.at].image_sub_path
    return inside(view, sub_path, volume.at) if sub_path else view


async def _layers(on: Collaborators, volume: ImageVolume) -> list[Path]:
    """The directories of an image's layers, the uppermost first."""
    try:
        driver = (await on.engine.get(f"/images/{volume.image_id}/json", _Image)).graph_driver
    except NoSuchObject:
        raise failed(volume.at, f"image {volume.image_id} was removed meanwhile") from None
    data = driver.data or {}
    if driver.name != _DRIVER or "UpperDir" not in data:
        raise failed(volume.at, f"Docker's storage driver {driver.name} shows no files of images; {_DRIVER} does")
    lower = data.get("LowerDir", "")
    return [Path(data["UpperDir"]), *(Path(directory) for directory in lower.split(":") if directory)]


def _show(layers: list[Path], view: Path) -> None:
    """Mount, if it isn't there yet. An overlay needs two layers; one is bound as it is."""
    view.mkdir(mode=0o700, exist_ok=True)
    if is_mount_point(view):
        return
    if len(layers) == 1:
        bind(layers[0], view, read_only=True)
        return
    names = [str(layer.relative_to("/")) for layer in layers]
    mount_overlay(Path("/"), names, view, read_only=True, label=view_label())


async def release_image_volumes(on: Collaborators, container: Container) -> None:
    """The container needs its image volumes no longer: take down those that no other one needs. Idempotent."""
    for image_id in {volume.image_id for volume in container.record.image_volumes}:
        async with on.locks.hold(_lock(image_id)):
            if not any(other.mounts_image(image_id) for other in on.containers if other.id != container.id):
                await in_thread(_take_down, view_of(on.layout, image_id))


async def recover_image_volumes(on: Collaborators) -> None:
    """After a start: views that no container's record names go."""
    for view in on.layout.image_volumes.iterdir():
        if not any(container.mounts_image(image_of(view)) for container in on.containers):
            log.info("an orphaned image volume is removed", image=image_of(view))
            await in_thread(_take_down, view)


def _take_down(view: Path) -> None:
    unmount(view)
    if view.exists():
        view.rmdir()


def _lock(image_id: str) -> tuple[str, str]:
    return ("image volume", image_id)
