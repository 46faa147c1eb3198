"""Short words for talking about images to a daemon: pull, find, remove, and what a refused call says."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from examples.make_hello_image import layer as hello_layer

from podwright.criapi import api_pb2 as pb
from podwright.criapi import podwright_pb2
from tests.support import names
from tests.support.daemon import Daemon
from tests.support.fake_registry import FakeRegistry
from tests.support.registry import PushedImage, make_image, tar_layer

# Busybox, what programs expect, and where file systems are mounted: layers of images that can run.
HELLO_LAYER = hello_layer()


def marker(text: str, size: int = 0) -> bytes:
    """A layer that no other image has, with a file of that name and content."""
    return tar_layer({"marks/": b"", f"marks/{text}": text.encode().ljust(max(size, len(text)), b".")})


def registry_config(directory: Path, *, more: str = "") -> str:
    """Configuration for a daemon that looks for certificates, mirrors and credentials in `directory` only."""
    return (
        f'[registry]\nconfig_path = ["{directory}/certs.d"]\nauth_files = ["{directory}/auth.json"]\n'
        f"connect_timeout_s = 2\nprogress_timeout_s = 5\nretries = 1\n[image]\nsweep_interval_s = 0.5\n{more}"
    )


def write_hosts(directory: Path, domain: str, text: str) -> None:
    """The hosts.toml of a registry."""
    place = directory / "certs.d" / domain
    place.mkdir(parents=True, exist_ok=True)
    (place / "hosts.toml").write_text(text)


def pull(daemon: Daemon, name: str, auth: pb.AuthConfig | None = None, timeout: float = 60) -> str:
    """PullImage; gives the image's id."""
    request = pb.PullImageRequest(image=pb.ImageSpec(image=name), auth=auth)
    return str(daemon.images.PullImage(request, timeout=timeout).image_ref)


def find(daemon: Daemon, name: str) -> pb.Image | None:
    """ImageStatus; None when the answer has no image."""
    answer = daemon.images.ImageStatus(pb.ImageStatusRequest(image=pb.ImageSpec(image=name)))
    return answer.image if answer.HasField("image") else None


def listed(daemon: Daemon) -> list[pb.Image]:
    return list(daemon.images.ListImages(pb.ListImagesRequest()).images)


def remove(daemon: Daemon, name: str) -> None:
    daemon.images.RemoveImage(pb.RemoveImageRequest(image=pb.ImageSpec(image=name)))


def refusal(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    """Code and words of a call that has to fail; a person sees one line."""
    with pytest.raises(grpc.RpcError) as refused:
        call()
    details = refused.value.details() or ""
    assert "\n" not in details
    assert "Traceback" not in details
    return refused.value.code(), details


def serve_image(fake: FakeRegistry, image: PushedImage) -> str:
    """Put an image into a fake registry; gives its name."""
    for blob in (*image.layers, image.config):
        fake.add_blob(blob)
    fake.add_manifest(image.repository, image.tag, image.manifest, image.media_type)
    return f"{fake.address}/{image.repository}:{image.tag}"


def load(daemon: Daemon, layers: Sequence[bytes], config: Mapping[str, Any] | None = None) -> str:
    """An image without a registry, by way of a docker-archive; gives its id, which is all the name it has."""
    image = make_image("", "", layers, config, compression="")
    files = {f"{number}.tar": layer for number, layer in enumerate(image.layers)}
    manifest = [{"Config": "config.json", "RepoTags": [], "Layers": list(files)}]
    archive = daemon.directory / f"{names.unique('image')}.tar"
    archive.write_bytes(
        tar_layer({**files, "config.json": image.config, "manifest.json": json.dumps(manifest).encode()})
    )
    try:
        return str(daemon.podwright.LoadImage(podwright_pb2.LoadImageRequest(path=str(archive))).ids[0])
    finally:
        archive.unlink()
