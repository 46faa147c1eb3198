"""Image manifests, indexes and configurations, OCI and Docker schema 2, as typed data read from hostile bytes.

`parse_manifest` and `parse_config` are the only ways in. They bound size, depth and number of values before
anything is built, and take a document for one thing only: one that is both manifest and index is refused
(CVE-2021-41190), as is one whose `mediaType` contradicts the type it was announced with. Nothing here checks a
digest; whoever fetched the bytes has.

https://github.com/opencontainers/image-spec: descriptor.md, manifest.md, image-index.md, config.md.
https://distribution.github.io/distribution/spec/manifest-v2-2/
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from podwright.base.errors import InvalidArgument
from podwright.oci.digest import Digest, is_digest

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"

INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_INDEX})
MANIFEST_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
CONFIG_TYPES = frozenset({OCI_CONFIG, DOCKER_CONFIG})

MANIFEST_LIMIT_BYTES = 4 * 1024 * 1024
CONFIG_LIMIT_BYTES = 8 * 1024 * 1024
# The kernel stacks at most 500 lower directories (fs/overlayfs/params.h, OVL_MAX_STACK).
MAX_LAYERS = 500
# A JSON value costs at least a comma; this many objects are some 30 MB of Python. Real documents have hundreds.
_MAX_VALUES = 100_000
_MAX_SIZE = 1 << 50


class Platform(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an image runs on. `variant` as the specification writes it: "v7", "v8"; "" when it says nothing."""

    os: str = ""
    architecture: str = ""
    variant: str = ""
    os_version: str = msgspec.field(default="", name="os.version")

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part) or "unknown"


class Descriptor(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A pointer to content: what type it has, its digest, and its size in bytes. `digest` is always valid."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    annotations: dict[str, str] | None = None
    urls: list[str] | None = None
    artifact_type: str = ""

    def __post_init__(self) -> None:
        if not is_digest(self.digest):
            raise ValueError(f"{self.digest[:160]!r} is not a sha256 or sha512 digest")
        if not 0 <= self.size <= _MAX_SIZE:
            raise ValueError(f"size {self.size} of {self.digest} is out of range")

    @property
    def is_index(self) -> bool:
        return self.media_type in INDEX_TYPES

    @property
    def is_foreign(self) -> bool:
        """A layer that the registry may not hold: its `urls` say where it is."""
        return ".foreign." in self.media_type or ".nondistributable." in self.media_type


class Manifest(msgspec.Struct, frozen=True):
    """One image for one platform. `layers` begin with the lowest."""

    media_type: str
    config: Descriptor
    layers: list[Descriptor]
    annotations: dict[str, str]
    artifact_type: str = ""
    subject: Descriptor | None = None


class Index(msgspec.Struct, frozen=True):
    """Manifests of one image for several platforms; see `oci.platform.choose`."""

    media_type: str
    manifests: list[Descriptor]
    annotations: dict[str, str]


class RunConfig(msgspec.Struct, frozen=True):
    """How the image wants to be run; config.md, "config"."""

    user: str = ""
    env: list[str] = []
    entrypoint: list[str] = []
    cmd: list[str] = []
    working_dir: str = ""
    stop_signal: str = ""
    volumes: list[str] = []
    exposed_ports: list[str] = []
    labels: dict[str, str] = {}


class History(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step of a build. Steps with `empty_layer` have no diff id."""

    created: str | None = None
    created_by: str | None = None
    author: str | None = None
    comment: str | None = None
    empty_layer: bool | None = None


class ImageConfig(msgspec.Struct, frozen=True):
    """An image's configuration. `diff_ids`: digests of the uncompressed layers, the lowest first."""

    platform: Platform
    run: RunConfig
    diff_ids: list[Digest]
    history: list[History]
    created: str = ""
    author: str = ""


class _AnyManifest(msgspec.Struct, rename="camel"):
    """Both kinds of document at once, so that one that wants to be both is seen."""

    schema_version: int = 0
    media_type: str = ""
    artifact_type: str = ""
    config: Descriptor | None = None
    layers: list[Descriptor] | None = None
    manifests: list[Descriptor] | None = None
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None
    fs_layers: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _RunConfig(msgspec.Struct, rename="pascal"):
    user: str | None = None
    env: list[str] | None = None
    entrypoint: list[str] | str | None = None
    cmd: list[str] | str | None = None
    working_dir: str | None = None
    stop_signal: str | None = None
    volumes: dict[str, Any] | None = None
    exposed_ports: dict[str, Any] | None = None
    labels: dict[str, str] | None = None


class _RootFs(msgspec.Struct):
    type: str = ""
    diff_ids: list[str] | None = None


class _Config(msgspec.Struct):
    architecture: str = ""
    os: str = ""
    variant: str | None = None
    os_version: str | None = msgspec.field(default=None, name="os.version")
    created: str | None = None
    author: str | None = None
    config: _RunConfig | None = None
    rootfs: _RootFs | None = None
    history: list[History] | None = None


W = TypeVar("W")


def parse_manifest(data: bytes, media_type: str = "") -> Manifest | Index:
    """The manifest or index in `data`. `media_type`: what the descriptor or the Content-Type header announced.

    A generic or empty type ("application/json") leaves the decision to the document. Raises InvalidArgument.
    """
    announced = media_type.partition(";")[0].strip().lower()
    if "docker.distribution.manifest.v1+" in announced:
        raise InvalidArgument(_SCHEMA1)
    document = _decode(data, _AnyManifest, "manifest", MANIFEST_LIMIT_BYTES)
    kind = _kind(document, announced)
    if kind in INDEX_TYPES:
        return Index(kind, document.manifests or [], document.annotations or {})
    if document.config is None:
        raise InvalidArgument("manifest: it has no config")
    layers = document.layers or []
    if len(layers) > MAX_LAYERS:
        raise InvalidArgument(f"manifest: it has {len(layers)} layers; the kernel can stack {MAX_LAYERS}")
    return Manifest(kind, document.config, layers, document.annotations or {}, document.artifact_type, document.subject)


_SCHEMA1 = (
    "manifest: it has Docker's schema 1, which is no longer supported by anything: "
    "pull and push the image with a current Docker or skopeo to convert it"
)


def _kind(document: _AnyManifest, announced: str) -> str:
    """Which of the four media types the document has; the shape must fit every name that it is given."""
    if document.schema_version == 1 or document.fs_layers is not msgspec.UNSET:
        raise InvalidArgument(_SCHEMA1)
    if document.schema_version != 2:
        raise InvalidArgument(f"manifest: schemaVersion is {document.schema_version or 'missing'}, must be 2")
    has_image = document.config is not None or document.layers is not None
    if document.manifests is not None and has_image:
        raise InvalidArgument("manifest: it is ambiguous, with both `manifests` and `config` or `layers`")
    known = INDEX_TYPES | MANIFEST_TYPES
    named = document.media_type
    if named and named not in known:
        raise InvalidArgument(f"manifest: its mediaType {named[:160]!r} is not that of an image or an index")
    if named and announced in known and named != announced:
        raise InvalidArgument(f"manifest: it was announced as {announced}, but its mediaType is {named}")
    kind = named or (announced if announced in known else OCI_MANIFEST if has_image else OCI_INDEX)
    if kind in INDEX_TYPES and document.manifests is None:
        raise InvalidArgument(f"manifest: it is called {kind}, but has no `manifests`")
    if kind in MANIFEST_TYPES and not has_image:
        raise InvalidArgument(f"manifest: it is called {kind}, but has neither `config` nor `layers`")
    return kind


def parse_config(data: bytes) -> ImageConfig:
    """The image configuration in `data`. Raises InvalidArgument."""
    wire = _decode(data, _Config, "image config", CONFIG_LIMIT_BYTES)
    diff_ids = (wire.rootfs.diff_ids if wire.rootfs else None) or []
    if len(diff_ids) > MAX_LAYERS:
        raise InvalidArgument(f"image config: it has {len(diff_ids)} diff_ids; the kernel can stack {MAX_LAYERS}")
    for diff_id in diff_ids:
        if not is_digest(diff_id):
            raise InvalidArgument(f"image config: rootfs.diff_ids has {diff_id[:160]!r}, which is no digest")
    return ImageConfig(
        Platform(wire.os, wire.architecture, wire.variant or "", wire.os_version or ""),
        _run_config(wire.config or _RunConfig()),
        [Digest(diff_id) for diff_id in diff_ids],
        wire.history or [],
        wire.created or "",
        wire.author or "",
    )


def _run_config(wire: _RunConfig) -> RunConfig:
    return RunConfig(
        user=wire.user or "",
        env=wire.env or [],
        entrypoint=_words(wire.entrypoint),
        cmd=_words(wire.cmd),
        working_dir=wire.working_dir or "",
        stop_signal=wire.stop_signal or "",
        volumes=list(wire.volumes or {}),
        exposed_ports=list(wire.exposed_ports or {}),
        labels=wire.labels or {},
    )


def _words(value: list[str] | str | None) -> list[str]:
    """Docker has always taken a lone string for a list of one word."""
    return [value] if isinstance(value, str) else value or []


def _decode(data: bytes, kind: type[W], what: str, limit_bytes: int) -> W:
    if len(data) > limit_bytes:
        raise InvalidArgument(f"{what}: it has {len(data)} bytes; at most {limit_bytes} are accepted")
    if data.count(b",") > _MAX_VALUES:
        raise InvalidArgument(f"{what}: it has more than {_MAX_VALUES} values")
    try:
        return msgspec.json.decode(data, type=kind)
    except RecursionError:
        raise InvalidArgument(f"{what}: its JSON is nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{what}: {str(error)[:500]}") from error
