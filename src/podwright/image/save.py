"""`image save`: images into an archive that other tools read. Blobs are written as they are, so ids stay."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from podwright.base.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from podwright.base.files import disk_error, fsync_directory, remove_tree
from podwright.base.ids import random_suffix
from podwright.content.store import ContentStore
from podwright.image.contents import IMAGE_NAME, REF_NAME, blob_name
from podwright.image.model import ImageRecord
from podwright.oci.digest import Digest, digest_hex
from podwright.oci.image import MANIFEST_LIMIT_BYTES, OCI_INDEX, Descriptor, Manifest, parse_manifest
from podwright.oci.reference import parse_reference

Format = Literal["oci", "oci-dir", "docker"]
_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


class _Writer(Protocol):
    def data(self, name: str, data: bytes) -> None: ...

    def file(self, name: str, fd: int) -> None:
        """The whole file behind a descriptor, which is closed."""


class _TarWriter:
    """A tar with nothing in its headers that changes from one run to the next."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar

    def data(self, name: str, data: bytes) -> None:
        self._tar.addfile(_header(name, len(data)), io.BytesIO(data))

    def file(self, name: str, fd: int) -> None:
        with os.fdopen(fd, "rb") as file:
            self._tar.addfile(_header(name, os.fstat(fd).st_size), file)


class _DirectoryWriter:
    def __init__(self, root: Path) -> None:
        self._root = root

    def data(self, name: str, data: bytes) -> None:
        self._place(name).write_bytes(data)

    def file(self, name: str, fd: int) -> None:
        with os.fdopen(fd, "rb"), self._place(name).open("wb") as writing:
            while os.sendfile(writing.fileno(), fd, None, 1 << 30):
                pass

    def _place(self, name: str) -> Path:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


@dataclass(frozen=True)
class SavedImage:
    """An image to write. `open` gives a descriptor of one of its blobs, at its first byte; `document`: its manifest."""

    tags: Sequence[str]
    digest: Digest
    document: bytes
    manifest: Manifest
    open: Callable[[Digest], int]


def save_images(content: ContentStore, records: Sequence[tuple[str, ImageRecord]], path: Path, form: Format) -> None:
    """Write images, each with the name it was asked for, to a new archive at `path`. Blocks: call it in a thread.

    Raises FailedPrecondition when layers were not kept, AlreadyExists, NotFound, ResourceExhausted.
    """
    images = [_stored(content, asked, record) for asked, record in records]
    write_archive(images, path, form)


def write_archive(images: Sequence[SavedImage], path: Path, form: Format) -> None:
    """Write images to a new archive at `path`. Blocks. Raises AlreadyExists, NotFound, ResourceExhausted."""
    try:
        with _new_archive(path, form) as writer:
            (_write_docker if form == "docker" else _write_oci)(images, writer)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise NotFound(f"can't write {path}: {error.strerror}") from error
        raise disk_error(error, path) from error


def _write_oci(images: Sequence[SavedImage], writer: _Writer) -> None:
    """OCI image-spec, image-layout.md. containerd reads its own annotation, everybody else the specification's."""
    entries = []
    written: set[Digest] = set()
    writer.data("oci-layout", _LAYOUT)
    for image in images:
        manifest = image.manifest
        for name in image.tags or [""]:
            notes = {IMAGE_NAME: name, REF_NAME: name} if name else {}
            entry = {"mediaType": manifest.media_type, "digest": image.digest, "size": len(image.document)}
            entries.append(entry | ({"annotations": notes} if notes else {}))
        if image.digest not in written:
            writer.data(blob_name(image.digest), image.document)
        for digest in (manifest.config.digest, *(layer.digest for layer in manifest.layers)):
            if digest not in written:
                writer.file(blob_name(digest), image.open(digest))
            written.update((digest, image.digest))
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    writer.data("index.json", msgspec.json.encode(index))


def _write_docker(images: Sequence[SavedImage], writer: _Writer) -> None:
    """What `docker load` takes. Layers stay compressed; Docker, podman and skopeo look at their first bytes."""
    entries = []
    written: set[str] = set()
    for image in images:
        manifest = image.manifest
        config = f"{digest_hex(manifest.config.digest)}.json"
        layers = [_layer_file(layer) for layer in manifest.layers]
        entries.append({"Config": config, "RepoTags": list(image.tags) or None, "Layers": layers})
        files = dict(zip([config, *layers], [manifest.config, *manifest.layers], strict=True))
        for name, descriptor in files.items():
            if name not in written:
                written.add(name)
                writer.file(name, image.open(descriptor.digest))
    writer.data("manifest.json", msgspec.json.encode(entries))


def _layer_file(layer: Descriptor) -> str:
    endings = {"gzip": ".tar.gz", "zstd": ".tar.zst"}
    ending = next((end for word, end in endings.items() if layer.media_type.endswith(word)), ".tar")
    return digest_hex(layer.digest) + ending


def tags_to_save(asked: str, record: ImageRecord) -> list[str]:
    """Asked for by a tag: that tag. By id or digest: all tags."""
    try:
        tagged = parse_reference(asked).tagged
    except InvalidArgument:
        tagged = ""
    return [tagged] if tagged in record.repo_tags else list(record.repo_tags)


def _stored(content: ContentStore, asked: str, record: ImageRecord) -> SavedImage:
    document = content.read(record.manifest, limit_bytes=MANIFEST_LIMIT_BYTES)
    manifest = parse_manifest(document)
    if not isinstance(manifest, Manifest):
        raise FailedPrecondition(f"image {record.id}: its manifest is an index")
    missing = [layer.digest for layer in manifest.layers if layer.digest not in record.blobs]
    if missing:
        raise FailedPrecondition(
            f"image {asked}: {len(missing)} of its layers' blobs are not kept on this node "
            "(image.discard_unpacked_layers, or the same layer came with another image), so it can't be saved"
        )

    def open_blob(digest: Digest) -> int:
        return os.open(content.path(digest), os.O_RDONLY | os.O_CLOEXEC)

    return SavedImage(tags_to_save(asked, record), record.manifest, document, manifest, open_blob)


@contextmanager
def _new_archive(path: Path, form: Format) -> Iterator[_Writer]:
    """Write beside `path`, and give it its name when it is whole and durable."""
    if path.exists():
        raise AlreadyExists(f"{path} exists; remove it first")
    beside = path.with_name(f".{path.name}.{random_suffix()}.tmp")
    try:
        if form == "oci-dir":
            beside.mkdir(mode=0o755)
            yield _DirectoryWriter(beside)
        else:
            with beside.open("xb") as file:
                with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                    yield _TarWriter(tar)
                file.flush()
                os.fsync(file.fileno())
        beside.rename(path)
    except BaseException:
        remove_tree(beside)
        raise
    fsync_directory(path.parent)


def _header(name: str, size: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o644
    return header
