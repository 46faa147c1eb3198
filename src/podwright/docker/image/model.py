"""What the engine says of an image, and the `ImageRecord` that makes of it. Pure.

The engine writes names as people do ("busybox:latest"), the CRI wants them whole ("docker.io/library/busybox:latest").
An image's id is the engine's own, whatever name it came by: PullImage, ImageStatus, ListImages and the containers all
say the same. Docker Engine API v1.41, ImageInspect, ImageSummary.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from podwright.base.errors import InvalidArgument
from podwright.image.model import ImageRecord
from podwright.oci.digest import Digest
from podwright.oci.image import Platform, RunConfig
from podwright.oci.reference import parse_reference

_NONE = "<none>"  # how the engine lists an image without a name


class Config(msgspec.Struct, rename="pascal"):
    """How the image wants to be run; everything may be null."""

    user: str | None = None
    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    working_dir: str | None = None
    stop_signal: str | None = None
    volumes: dict[str, Any] | None = None
    exposed_ports: dict[str, Any] | None = None
    labels: dict[str, str] | None = None


class RootFs(msgspec.Struct, rename="pascal"):
    """The diff ids, the lowest first."""

    layers: list[str] | None = None


class Inspected(msgspec.Struct, rename="pascal"):
    """GET /images/NAME/json."""

    id: str
    repo_tags: list[str] | None = None
    repo_digests: list[str] | None = None
    created: str | None = None
    size: int = 0
    os: str | None = None
    architecture: str | None = None
    variant: str | None = None
    config: Config | None = None
    root_fs: RootFs | None = msgspec.field(default=None, name="RootFS")


class Listed(msgspec.Struct, rename="pascal"):
    """One of GET /images/json: names and id, and nothing of the configuration."""

    id: str
    repo_tags: list[str] | None = None
    repo_digests: list[str] | None = None


def record_of(image: Inspected) -> ImageRecord:
    """As the image room has it. The engine keeps no blobs, and doesn't say which manifest an image came by."""
    config = image.config or Config()
    layers = (image.root_fs.layers if image.root_fs else None) or []
    return ImageRecord(
        id=Digest(image.id), repo_tags=tags_of(image.repo_tags), repo_digests=digests_of(image.repo_digests),
        manifest=Digest(""), blobs={}, diff_ids=[Digest(layer) for layer in layers],
        config=RunConfig(
            user=config.user or "", env=config.env or [], entrypoint=config.entrypoint or [], cmd=config.cmd or [],
            working_dir=config.working_dir or "", stop_signal=config.stop_signal or "",
            volumes=list(config.volumes or {}), exposed_ports=list(config.exposed_ports or {}),
            labels=config.labels or {},
        ),
        platform=Platform(image.os or "", image.architecture or "", image.variant or ""),
        size_bytes=image.size, pulled_at=0, created=image.created or "",
    )  # fmt: skip


def tags_of(listed: Iterable[str] | None) -> list[str]:
    """The engine's tags in full, sorted."""
    return _names(listed, digests=False)


def digests_of(listed: Iterable[str] | None) -> list[str]:
    """The engine's digests in full, sorted."""
    return _names(listed, digests=True)


def _names(listed: Iterable[str] | None, *, digests: bool) -> list[str]:
    found = set()
    for name in listed or ():
        if _NONE in name:
            continue
        try:
            reference = parse_reference(name)
        except InvalidArgument:  # an older engine let it pass; nobody could pull or name it
            continue
        whole = reference.digest and reference.with_digest(reference.digest) if digests else reference.tagged
        if whole:
            found.add(whole)
    return sorted(found)
