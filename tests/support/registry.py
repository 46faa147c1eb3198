"""Real registries for tests: Debian's docker-registry on a loopback port of the kernel's choice, and images to put in.

    with running_registry(tmp_path, tls=True, password="secret") as registry:
        image = push_image(registry, "team/app", "v1", [tar_layer({"etc/motd": b"hello"})])

Everything here is synchronous, so that a fixture of any scope can use it. Pushing speaks the distribution API over
http.client: the code under test has no part in it.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import io
import json
import os
import re
import shutil
import ssl
import subprocess  # noqa: TID251 - fixtures of modules have no event loop
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
import zstandard

PROGRAM = "docker-registry"
USERNAME = "alice"
_START_S = 20.0
_OCI = "application/vnd.oci.image"
_DOCKER = "application/vnd.docker"

Compression = Literal["", "gzip", "zstd"]


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Registry:
    """A registry that runs. `address` is host:port; `ca` its authority's certificate when it speaks TLS."""

    address: str
    directory: Path
    ca: Path | None = None
    username: str = ""
    password: str = ""

    @property
    def url(self) -> str:
        return f"{'https' if self.ca else 'http'}://{self.address}"

    def reference(self, repository: str, tag: str = "latest") -> str:
        """How a pull names an image in it: "127.0.0.1:40123/team/app:v1"."""
        return f"{self.address}/{repository}:{tag}"

    def request(
        self, method: str, path: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of one request. `path` may be a full address, as Location headers are."""
        parts = urlsplit(path)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        sent = dict(headers or {})
        if self.username:
            pair = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
            sent["Authorization"] = f"Basic {pair}"
        connection = self._connection()
        try:
            connection.request(method, target, body=body, headers=sent)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self.ca is None:
            return http.client.HTTPConnection(self.address, timeout=60)
        context = ssl.create_default_context(cafile=os.fspath(self.ca))
        return http.client.HTTPSConnection(self.address, timeout=60, context=context)


@contextmanager
def running_registry(directory: Path, *, tls: bool = False, password: str = "") -> Iterator[Registry]:
    """A docker-registry that keeps its data below `directory`. With `password`, user "alice" has to give it."""
    if shutil.which(PROGRAM) is None:
        pytest.skip(f"{PROGRAM} is not installed")
    directory.mkdir(parents=True, exist_ok=True)
    http_settings: dict[str, Any] = {"addr": "127.0.0.1:0"}
    config: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(directory / "data")}, "delete": {"enabled": True}},
        "http": http_settings,
    }
    ca = None
    if tls:
        ca, certificate, key = make_certificates(directory / "tls")
        http_settings["tls"] = {"certificate": str(certificate), "key": str(key)}
    if password:
        config["auth"] = {"htpasswd": {"realm": "test", "path": str(make_htpasswd(directory, password))}}
    # YAML is a superset of JSON.
    (directory / "config.yml").write_text(json.dumps(config))
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [PROGRAM, "serve", directory / "config.yml"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={"PATH": os.environ["PATH"]},
        )  # fmt: skip
    try:
        address = _wait_for_address(process, directory / "log")
        yield Registry(address, directory, ca, USERNAME if password else "", password)
    finally:
        process.terminate()
        process.wait()


def _wait_for_address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        text = log.read_text(errors="replace")
        if match := re.search(r"listening on (127\.0\.0\.1:\d+)", text):
            return match[1]
        if process.poll() is not None:
            break
        time.sleep(0.01)  # noqa: TID251 - no event loop runs in a fixture of a module
    raise RuntimeError(f"{PROGRAM} did not start:\n{log.read_text(errors='replace')[-2000:]}")


def make_certificates(directory: Path, host: str = "127.0.0.1") -> tuple[Path, Path, Path]:
    """An authority of our own and a certificate for `host`: (ca, certificate, key). By openssl."""
    directory.mkdir(parents=True, exist_ok=True)
    ca, ca_key = directory / "ca.crt", directory / "ca.key"
    _openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-subj", "/CN=podwright test authority", "-keyout", ca_key, "-out", ca,
        "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )  # fmt: skip
    certificate, key = make_certificate(directory, "server", ca, ca_key, host)
    return ca, certificate, key


def make_certificate(directory: Path, name: str, ca: Path, ca_key: Path, host: str = "127.0.0.1") -> tuple[Path, Path]:
    """A certificate that `ca` signed, for servers and clients alike: (certificate, key)."""
    certificate, key, request = (directory / f"{name}.{suffix}" for suffix in ("cert", "key", "csr"))
    kind = "IP" if re.fullmatch(r"[\d.]+", host) else "DNS"
    extensions = directory / f"{name}.ext"
    extensions.write_text(f"subjectAltName={kind}:{host}\nextendedKeyUsage=serverAuth,clientAuth\n")
    _openssl(
        "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-subj", f"/CN={name}", "-keyout", key, "-out", request,
    )  # fmt: skip
    _openssl(
        "x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial",
        "-days", "2", "-extfile", extensions, "-out", certificate,
    )  # fmt: skip
    return certificate, key


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def make_htpasswd(directory: Path, password: str) -> Path:
    """A file for "alice" in the one form that docker-registry takes, bcrypt; the lowest cost keeps tests quick."""
    path = directory / "htpasswd"
    subprocess.run(["htpasswd", "-cbB", "-C", "4", path, USERNAME, password], check=True, capture_output=True)
    return path


@dataclass(frozen=True)
class PushedImage:
    """What was pushed. `manifest` and `config` are the very bytes; layers are as they travel."""

    repository: str
    tag: str
    manifest: bytes
    media_type: str
    config: bytes
    layers: list[bytes] = field(repr=False)

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)

    @property
    def config_digest(self) -> str:
        return digest_of(self.config)

    @property
    def layer_digests(self) -> list[str]:
        return [digest_of(layer) for layer in self.layers]


def make_image(
    repository: str,
    tag: str,
    layers: Sequence[bytes],
    config: Mapping[str, Any] | None = None,
    *,
    compression: Compression = "gzip",
    docker: bool = False,
    architecture: str = "amd64",
) -> PushedImage:
    """An image of uncompressed tars, the lowest first. `config`: the members of the config's "config"."""
    packed = [compress(layer, compression) for layer in layers]
    document = {
        "created": "2024-01-02T03:04:05Z",
        "architecture": architecture,
        "os": "linux",
        "config": dict(config or {}),
        "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
        "history": [{"created_by": "a test"} for _ in layers],
    }
    config_bytes = json.dumps(document).encode()
    media_type = f"{_DOCKER}.distribution.manifest.v2+json" if docker else f"{_OCI}.manifest.v1+json"
    config_type = f"{_DOCKER}.container.image.v1+json" if docker else f"{_OCI}.config.v1+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {"mediaType": config_type, "digest": digest_of(config_bytes), "size": len(config_bytes)},
        "layers": [
            {"mediaType": _layer_type(compression, docker=docker), "digest": digest_of(layer), "size": len(layer)}
            for layer in packed
        ],
    }
    return PushedImage(repository, tag, json.dumps(manifest).encode(), media_type, config_bytes, packed)


def push_image(
    registry: Registry,
    repository: str,
    tag: str,
    layers: Sequence[bytes],
    config: Mapping[str, Any] | None = None,
    *,
    compression: Compression = "gzip",
    docker: bool = False,
    architecture: str = "amd64",
) -> PushedImage:
    """Make an image as `make_image` does, and push it."""
    image = make_image(
        repository, tag, layers, config, compression=compression, docker=docker, architecture=architecture
    )
    for blob in (*image.layers, image.config):
        push_blob(registry, repository, blob)
    push_manifest(registry, repository, tag, image.manifest, image.media_type)
    return image


def push_index(registry: Registry, repository: str, tag: str, images: Mapping[str, PushedImage]) -> bytes:
    """Push an index over images of the same repository, by platform: {"linux/amd64": image}. Gives its bytes."""
    entries = []
    for platform, image in images.items():
        system, architecture, *variant = platform.split("/")
        described = {"os": system, "architecture": architecture} | ({"variant": variant[0]} if variant else {})
        entries.append(
            {"mediaType": image.media_type, "digest": image.digest, "size": len(image.manifest), "platform": described}
        )
    media_type = f"{_OCI}.index.v1+json"
    data = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": entries}).encode()
    push_manifest(registry, repository, tag, data, media_type)
    return data


def push_blob(registry: Registry, repository: str, data: bytes) -> str:
    digest = digest_of(data)
    status, headers, body = registry.request("POST", f"/v2/{repository}/blobs/uploads/")
    assert status == 202, body
    location = headers["Location"]
    location += ("&" if "?" in location else "?") + f"digest={digest}"
    status, _, body = registry.request("PUT", location, body=data, headers={"Content-Type": "application/octet-stream"})
    assert status == 201, body
    return digest


def push_manifest(registry: Registry, repository: str, selector: str, data: bytes, media_type: str) -> str:
    status, _, body = registry.request(
        "PUT", f"/v2/{repository}/manifests/{selector}", body=data, headers={"Content-Type": media_type}
    )
    assert status == 201, body
    return digest_of(data)


def _layer_type(compression: Compression, *, docker: bool) -> str:
    if docker and compression != "zstd":
        return f"{_DOCKER}.image.rootfs.diff.tar" + (".gzip" if compression == "gzip" else "")
    return f"{_OCI}.layer.v1.tar" + (f"+{compression}" if compression else "")


def compress(data: bytes, compression: Compression) -> bytes:
    if compression == "gzip":
        return gzip.compress(data, compresslevel=1, mtime=0)
    return zstandard.ZstdCompressor(level=1).compress(data) if compression == "zstd" else data


def tar_layer(files: Mapping[str, bytes]) -> bytes:
    """An uncompressed layer of plain files; names that end in "/" are directories."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name.rstrip("/"))
            entry.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            entry.mode = 0o755
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
