"""Volumes whose owners the request wants mapped: mounted so beside the bundle, for the runtime to bind from there.

Runtimes differ in what they know of idmapped mounts (runc 1.1 ignores a mount's mappings without a word), so none is
asked: a bind mount of an idmapped mount is idmapped as well. mount_setattr(2), "ID-mapped mounts".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from os import close
from pathlib import Path

from podwright.base.errors import FailedPrecondition, InvalidArgument
from podwright.container.spec.facts import RequestFacts, SandboxFacts
from podwright.container.spec.mounts import mount_destination
from podwright.container.spec.userns import mount_id_maps
from podwright.criapi import api_pb2 as pb
from podwright.linux import mounts
from podwright.linux.idmap import IdMaps, attach, clone_idmapped
from podwright.linux.userns import user_namespace

_DIRECTORY = "volumes"


def plan_idmapped(config: pb.ContainerConfig, bundle: Path, request: RequestFacts) -> RequestFacts:
    """`request` with the places where its idmapped volumes will be mounted. Raises InvalidArgument."""
    sources = dict(request.sources)
    for at, destination, _maps in _idmapped(config):
        sources[destination] = replace(sources[destination], idmapped=bundle / _DIRECTORY / str(at))
    return replace(request, sources=sources)


async def mount_idmapped(config: pb.ContainerConfig, sandbox: SandboxFacts, request: RequestFacts) -> None:
    """Mount what `plan_idmapped` has planned; the sources must be there. Raises InvalidArgument.

    What takes it down is what takes the bundle down.
    """
    async with AsyncExitStack() as namespaces:
        for at, destination, maps in _idmapped(config):
            source = request.sources[destination]
            if maps == sandbox.id_maps and sandbox.userns is not None:
                userns = sandbox.userns
            else:
                userns = Path(f"/proc/{await namespaces.enter_async_context(user_namespace(maps))}/ns/user")
            assert source.idmapped is not None
            _mount(source.path, source.idmapped, userns, f"mounts[{at}]", is_directory=source.is_directory)


def _mount(source: Path, place: Path, userns: Path, field: str, *, is_directory: bool) -> None:
    place.parent.mkdir(mode=0o711, exist_ok=True)
    if is_directory:
        place.mkdir(mode=0o700, exist_ok=True)
    else:
        place.touch(mode=0o600)
    try:
        # The owners of what is mounted beneath stay, as runtimes have it for a mount that says "idmap".
        mount_fd = clone_idmapped(source, userns, recursive=True)
    except FailedPrecondition as error:
        raise InvalidArgument(str(error), field=field) from error
    try:
        attach(mount_fd, place)
    finally:
        close(mount_fd)


def unmount_idmapped(config: pb.ContainerConfig, request: RequestFacts) -> None:
    """The container has its own bind mounts of them by now."""
    for _at, destination, _maps in _idmapped(config):
        place = request.sources[destination].idmapped
        if place is not None:
            mounts.unmount(place, detach=True)


def _idmapped(config: pb.ContainerConfig) -> Iterator[tuple[int, str, IdMaps]]:
    """The number, destination and maps of each mount that has maps, image volumes aside."""
    for at, mount in enumerate(config.mounts):
        maps = mount_id_maps(mount, f"mounts[{at}]")
        if maps is not None and not mount.image.image:
            yield at, mount_destination(mount.container_path, f"mounts[{at}]"), maps
