"""The client against a real docker-registry: plain, with TLS, with passwords, behind mirrors."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from podwright.content.ingest import Ingest
from podwright.content.store import ContentStore
from podwright.oci.digest import Digest, digest_of
from podwright.oci.image import OCI_INDEX, Descriptor, Index, Manifest, parse_config, parse_manifest
from podwright.oci.platform import Platform, choose
from podwright.oci.reference import Reference, parse_reference
from podwright.registry.base import (
    AuthenticationFailed,
    BadRegistryAnswer,
    BlobUnknown,
    Credentials,
    ManifestUnknown,
    RegistryUnavailable,
)
from podwright.registry.client import RegistryClient
from tests.support.names import free_port
from tests.support.registry import (
    PushedImage,
    Registry,
    make_certificate,
    push_image,
    push_index,
    running_registry,
    tar_layer,
)

PASSWORD = "correct horse"
LAYERS = [tar_layer({"etc/motd": b"hello"}), tar_layer({"big": random.Random(7).randbytes(5_000_000)})]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("plain")) as registry:
        yield registry


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """TLS by an authority of its own, and a password."""
    with running_registry(tmp_path_factory.mktemp("private"), tls=True, password=PASSWORD) as registry:
        yield registry


@pytest.fixture(scope="module")
def image(plain: Registry) -> PushedImage:
    return push_image(plain, "team/app", "v1", LAYERS, {"Cmd": ["/bin/sh"]})


@pytest.fixture(scope="module")
def secret_image(private: Registry) -> PushedImage:
    return push_image(private, "team/secret", "v1", LAYERS[:1], docker=True, compression="zstd")


def reference(registry: Registry, image: PushedImage) -> Reference:
    return parse_reference(registry.reference(image.repository, image.tag))


def hosts_toml(tmp_path: Path, host: str, text: str) -> Path:
    directory = tmp_path / "certs.d" / host
    directory.mkdir(parents=True)
    (directory / "hosts.toml").write_text(text)
    return directory


def trust(tmp_path: Path, registry: Registry) -> None:
    hosts_toml(tmp_path, registry.address, f'ca = "{registry.ca}"\n')


async def pull(
    client: RegistryClient, content: ContentStore, name: Reference, credentials: Credentials | None = None
) -> Manifest:
    """All of an image, as the room above does it."""
    fetched = await client.resolve_manifest(name, credentials=credentials)
    manifest = parse_manifest(fetched.data, fetched.descriptor.media_type)
    assert isinstance(manifest, Manifest)
    await asyncio.gather(
        *(
            client.fetch_blob(name, blob, content, credentials=credentials)
            for blob in (manifest.config, *manifest.layers)
        )
    )
    return manifest


async def test_a_whole_image(
    plain: Registry, image: PushedImage, client: RegistryClient, content: ContentStore
) -> None:
    manifest = await pull(client, content, reference(plain, image))
    config = parse_config(content.read(manifest.config.digest, limit_bytes=1 << 20))
    assert config.run.cmd == ["/bin/sh"]
    assert config.diff_ids == [digest_of(layer) for layer in LAYERS]
    for descriptor, data in zip(manifest.layers, image.layers, strict=True):
        assert content.path(descriptor.digest).read_bytes() == data


async def test_what_resolving_tells(plain: Registry, image: PushedImage, client: RegistryClient) -> None:
    by_tag = await client.resolve_manifest(reference(plain, image))
    assert by_tag.data == image.manifest
    assert (by_tag.descriptor.digest, by_tag.descriptor.media_type) == (image.digest, image.media_type)
    assert by_tag.endpoint == f"https://{plain.address}/v2"
    wanted = replace(reference(plain, image), tag="other", digest=Digest(image.digest))
    assert (await client.resolve_manifest(wanted)).data == image.manifest


async def test_an_index(plain: Registry, image: PushedImage, client: RegistryClient) -> None:
    arm = push_image(plain, "team/app", "arm", [LAYERS[0]], architecture="arm64")
    index_data = push_index(plain, "team/app", "multi", {"linux/amd64": image, "linux/arm64/v8": arm})
    name = parse_reference(plain.reference("team/app", "multi"))
    fetched = await client.resolve_manifest(name)
    assert (fetched.data, fetched.descriptor.media_type) == (index_data, OCI_INDEX)
    index = parse_manifest(fetched.data, fetched.descriptor.media_type)
    assert isinstance(index, Index)
    chosen = await client.fetch_manifest(name, choose(index, Platform("linux", "arm64", "v8")))
    assert chosen.data == arm.manifest


async def test_a_known_manifest_takes_no_second_download(
    plain: Registry, image: PushedImage, client: RegistryClient
) -> None:
    asked: list[Digest] = []

    def known(digest: Digest) -> bytes | None:
        asked.append(digest)
        return image.manifest if digest == image.digest else None

    fetched = await client.resolve_manifest(reference(plain, image), known=known)
    assert fetched.data is image.manifest
    assert fetched.descriptor.media_type == image.media_type
    assert asked == [image.digest]
    # Bytes that aren't what they are kept as count for nothing.
    again = await client.resolve_manifest(reference(plain, image), known=lambda _: b"rotten")
    assert again.data == image.manifest


async def test_progress_and_deduplication(
    plain: Registry, image: PushedImage, client: RegistryClient, content: ContentStore
) -> None:
    name = reference(plain, image)
    descriptor = Descriptor("x", Digest(image.layer_digests[1]), len(image.layers[1]))
    counted: list[int] = []
    followed: list[Ingest] = []
    await asyncio.gather(
        *(
            client.fetch_blob(name, descriptor, content, on_bytes=counted.append, on_ingest=followed.append)
            for _ in range(5)
        )
    )
    assert sum(counted) == descriptor.size
    assert len(followed) == 1
    assert followed[0].committed
    await client.fetch_blob(name, descriptor, content, on_bytes=counted.append)
    assert sum(counted) == descriptor.size


async def test_resuming(plain: Registry, image: PushedImage, client: RegistryClient, content: ContentStore) -> None:
    data = image.layers[1]
    descriptor = Descriptor("x", Digest(image.layer_digests[1]), len(data))
    ingest = await content.open_ingest(descriptor.digest, descriptor.size)
    await ingest.write(data[:3_000_001])
    await ingest.close()
    counted: list[int] = []
    await client.fetch_blob(reference(plain, image), descriptor, content, on_bytes=counted.append)
    assert counted[0] == 3_000_001
    assert sum(counted) == len(data)
    assert content.read(descriptor.digest, limit_bytes=len(data)) == data


async def test_a_damaged_partial_file_is_fetched_afresh(
    plain: Registry, image: PushedImage, client: RegistryClient, content: ContentStore
) -> None:
    data = image.layers[1]
    descriptor = Descriptor("x", Digest(image.layer_digests[1]), len(data))
    ingest = await content.open_ingest(descriptor.digest, descriptor.size)
    await ingest.write(b"x" * 1000)
    await ingest.close()
    counted: list[int] = []
    followed: list[Ingest] = []
    await client.fetch_blob(
        reference(plain, image), descriptor, content, on_bytes=counted.append, on_ingest=followed.append
    )
    assert sum(counted) == len(data)
    assert [one.committed for one in followed] == [False, True]
    assert content.read(descriptor.digest, limit_bytes=len(data)) == data


async def test_what_is_not_there(
    plain: Registry, image: PushedImage, client: RegistryClient, content: ContentStore
) -> None:
    for name in ("team/app:none", "no/such:v1"):
        with pytest.raises(ManifestUnknown, match=rf"{plain.address} has no image {plain.address}/{name} \("):
            await client.resolve_manifest(parse_reference(f"{plain.address}/{name}"))
    missing = Descriptor("x", digest_of(b"missing"), 7)
    with pytest.raises(BlobUnknown, match=missing.digest):
        await client.fetch_blob(reference(plain, image), missing, content)
    with pytest.raises(ManifestUnknown):
        await client.fetch_manifest(reference(plain, image), missing)


async def test_nobody_at_the_port(client: RegistryClient) -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(RegistryUnavailable, match=f"^RegistryUnavailable: https://{address}/.*refused"):
        await client.resolve_manifest(parse_reference(f"{address}/a"))


async def test_tls_and_password(
    tmp_path: Path, private: Registry, secret_image: PushedImage, client: RegistryClient, content: ContentStore
) -> None:
    trust(tmp_path, private)
    manifest = await pull(client, content, reference(private, secret_image), Credentials("alice", PASSWORD))
    assert content.path(manifest.layers[0].digest).read_bytes() == secret_image.layers[0]


async def test_wrong_passwords_are_final_and_name_the_user(
    tmp_path: Path, private: Registry, secret_image: PushedImage, client: RegistryClient
) -> None:
    trust(tmp_path, private)
    name = reference(private, secret_image)
    with pytest.raises(AuthenticationFailed, match=f"{private.address} refuses user 'alice' for team/secret") as caught:
        await client.resolve_manifest(name, credentials=Credentials("alice", "hunter2"))
    assert "hunter2" not in str(caught.value)
    with pytest.raises(AuthenticationFailed, match=r"anonymous access .*needs a pull secret"):
        await client.resolve_manifest(name)
    with pytest.raises(AuthenticationFailed, match="the token that was given"):
        await client.resolve_manifest(name, credentials=Credentials(registry_token="made up"))


async def test_one_pulls_success_is_no_other_pulls_permission(
    tmp_path: Path, private: Registry, secret_image: PushedImage, client: RegistryClient
) -> None:
    trust(tmp_path, private)
    name = reference(private, secret_image)
    good = Credentials("alice", PASSWORD)
    for _ in range(2):
        results = await asyncio.gather(
            client.resolve_manifest(name, credentials=good),
            client.resolve_manifest(name, credentials=Credentials("alice", "wrong")),
            client.resolve_manifest(name),
            client.resolve_manifest(name, credentials=good),
            return_exceptions=True,
        )
        assert [isinstance(result, AuthenticationFailed) for result in results] == [False, True, True, False]


async def test_credentials_for_another_registry_stay_here(
    tmp_path: Path, private: Registry, secret_image: PushedImage, client: RegistryClient
) -> None:
    trust(tmp_path, private)
    name = reference(private, secret_image)
    for address in ("q.io", "https://q.io/v1/", "docker.io"):
        with pytest.raises(AuthenticationFailed, match="anonymous"):
            await client.resolve_manifest(name, credentials=Credentials("alice", PASSWORD, server_address=address))
    for address in (private.address, f"https://{private.address}/v2/"):
        await client.resolve_manifest(name, credentials=Credentials("alice", PASSWORD, server_address=address))


async def test_the_nodes_own_credentials(
    tmp_path: Path, private: Registry, secret_image: PushedImage, client: RegistryClient
) -> None:
    trust(tmp_path, private)
    name = reference(private, secret_image)
    entry = {"username": "alice", "password": PASSWORD}
    (tmp_path / "auth.json").write_text(json.dumps({"auths": {private.address: entry}}))
    assert (await client.resolve_manifest(name)).data == secret_image.manifest
    with pytest.raises(AuthenticationFailed):  # those of the request count, wrong as they are
        await client.resolve_manifest(name, credentials=Credentials("alice", "wrong"))


async def test_an_unknown_authority_is_not_trusted(
    tmp_path: Path, private: Registry, secret_image: PushedImage, client: RegistryClient
) -> None:
    directory = hosts_toml(tmp_path, private.address, f'server = "{private.url}"\ncapabilities = ["pull", "resolve"]\n')
    name = reference(private, secret_image)
    (directory / "hosts.toml").write_text(f'server = "https://localhost:{private.address.split(":")[1]}"\n')
    with pytest.raises(BadRegistryAnswer, match=r"certificate is not trusted.*hosts\.toml: ca"):
        await client.resolve_manifest(name, credentials=Credentials("alice", PASSWORD))
    (directory / "hosts.toml").write_text(f'server = "{private.url}"\nskip_verify = true\n')
    await client.resolve_manifest(name, credentials=Credentials("alice", PASSWORD))


async def test_a_local_registry_needs_no_configuration_even_with_tls(
    private: Registry, secret_image: PushedImage, client: RegistryClient
) -> None:
    await client.resolve_manifest(reference(private, secret_image), credentials=Credentials("alice", PASSWORD))


async def test_a_mirror_serves_another_registrys_images(
    tmp_path: Path, plain: Registry, image: PushedImage, client: RegistryClient, content: ContentStore
) -> None:
    dead = f"127.0.0.1:{free_port()}"
    hosts_toml(tmp_path, "q.invalid", f'[host."http://{dead}"]\n[host."{plain.url}"]\n')
    name = parse_reference("q.invalid/team/app:v1")
    manifest = await pull(client, content, name)
    assert content.has(manifest.layers[1].digest)
    assert (await client.resolve_manifest(name)).endpoint == f"http://{plain.address}/v2"


async def test_default_applies_to_registries_without_their_own(
    tmp_path: Path, plain: Registry, image: PushedImage, client: RegistryClient
) -> None:
    hosts_toml(tmp_path, "_default", f'server = "{plain.url}"\n')
    assert (await client.resolve_manifest(parse_reference("docker.io/team/app:v1"))).data == image.manifest


async def test_all_places_are_named_when_none_answers(tmp_path: Path, client: RegistryClient) -> None:
    one, two = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    hosts_toml(tmp_path, "q.invalid", f'server = "http://{two}"\n[host."http://{one}"]\n')
    with pytest.raises(RegistryUnavailable, match=rf"^RegistryUnavailable: http://{two}.*mirrors before it: {one}: "):
        await client.resolve_manifest(parse_reference("q.invalid/a"))


async def test_client_certificates_are_shown(tmp_path: Path, private: Registry, client: RegistryClient) -> None:
    """docker-registry checks no client certificate here; what counts is that the files are used or refused."""
    assert private.ca is not None
    certificate, key = make_certificate(tmp_path, "node", private.ca, private.ca.with_name("ca.key"))
    text = f'ca = "{private.ca}"\nclient = [["{certificate}", "{key}"]]\n'
    hosts_toml(tmp_path, private.address, text)
    name = parse_reference(private.reference("team/secret", "v1"))
    with pytest.raises(AuthenticationFailed):
        await client.resolve_manifest(name)
    key.write_text("no key")
    with pytest.raises(Exception, match="no certificate with its key in PEM"):
        await client.resolve_manifest(name)
