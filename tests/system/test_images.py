"""Images through the daemon's socket, from real registries: names and identity, credentials, removal, archives."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc
import pytest

from podwright.criapi import api_pb2 as pb
from podwright.criapi import podwright_pb2 as own
from tests.support import names
from tests.support.daemon import HELLO, Daemon
from tests.support.images import (
    HELLO_LAYER,
    find,
    listed,
    marker,
    pull,
    refusal,
    registry_config,
    remove,
    write_hosts,
)
from tests.support.play import wait_for
from tests.support.registry import (
    Compression,
    PushedImage,
    Registry,
    digest_of,
    push_image,
    push_index,
    running_registry,
    tar_layer,
)

pytestmark = pytest.mark.root

ALICE = pb.AuthConfig(username="alice", password="xyzzy")
MALLORY = pb.AuthConfig(username="alice", password="wrong")


@dataclass(frozen=True)
class Registries:
    """Two open ones, and one that speaks TLS and wants alice's password."""

    one: Registry
    two: Registry
    locked: Registry


@pytest.fixture(scope="module")
def registries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registries]:
    top = tmp_path_factory.mktemp("registries")
    with (
        running_registry(top / "one") as one,
        running_registry(top / "two") as two,
        running_registry(top / "locked", tls=True, password="xyzzy") as locked,
    ):
        yield Registries(one, two, locked)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the daemon looks for certificates and credentials."""
    return tmp_path_factory.mktemp("etc")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, directory: Path, registries: Registries) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("i"), config=registry_config(directory))
    write_hosts(directory, registries.locked.address, f'ca = "{registries.locked.ca}"\n')
    daemon.start()
    try:
        daemon.load_hello()
        # The first pod makes the bridge, which stays: no test is to be blamed for it.
        daemon.remove_pod(daemon.run_pod("first"))
        remove(daemon, HELLO)
        yield daemon
    finally:
        daemon.remove_everything()
    assert daemon.leftovers() == []


@pytest.fixture
def daemon(server: Daemon) -> Iterator[Daemon]:
    """One daemon for all tests; after each of them, and the removal of its pods and images, it stores nothing."""
    yield server
    for pod in server.pods():
        server.remove_pod(pod.id)
    for image in listed(server):
        remove(server, image.id)
    server.wait_until_nothing_is_stored()


def push_hello(
    registry: Registry, repository: str = "", tag: str = "v1", config: Mapping[str, object] | None = None
) -> PushedImage:
    """An image that runs, and is none that another test has."""
    word = names.unique("m")
    return push_image(registry, repository or names.unique("app"), tag, [HELLO_LAYER, marker(word)], config)


def test_a_pull_by_tag(daemon: Daemon, registries: Registries) -> None:
    pushed = push_hello(registries.one)
    name = registries.one.reference(pushed.repository, "v1")
    image_id = pull(daemon, name)
    assert image_id == pushed.config_digest
    image = find(daemon, name)
    assert image is not None, "visible as soon as PullImage has returned"
    assert image.id == image_id
    assert image.repo_tags == [name]
    assert image.repo_digests == [f"{registries.one.address}/{pushed.repository}@{pushed.digest}"]
    assert image.size > len(HELLO_LAYER)
    assert not image.pinned
    assert listed(daemon) == [image]


def test_a_pull_by_digest(daemon: Daemon, registries: Registries) -> None:
    pushed = push_hello(registries.one)
    repository = f"{registries.one.address}/{pushed.repository}"
    image_id = pull(daemon, f"{repository}@{pushed.digest}")
    image = find(daemon, image_id)
    assert image is not None
    assert (list(image.repo_tags), list(image.repo_digests)) == ([], [f"{repository}@{pushed.digest}"])
    # The digest decides, and the tag beside it says nothing.
    assert pull(daemon, f"{repository}:nonsense@{pushed.digest}") == image_id
    assert listed(daemon) == [image]


def test_no_tag_is_latest(daemon: Daemon, registries: Registries) -> None:
    pushed = push_hello(registries.one, tag="latest")
    bare = f"{registries.one.address}/{pushed.repository}"
    pull(daemon, bare)
    (image,) = listed(daemon)
    assert image.repo_tags == [f"{bare}:latest"]
    assert find(daemon, bare) == image


def test_one_id_everywhere(daemon: Daemon, registries: Registries) -> None:
    layers = [HELLO_LAYER, marker(names.unique("m"))]
    pushed = [
        push_image(registry, names.unique("app"), tag, layers)
        for registry in (registries.one, registries.two)
        for tag in ("v1", "v2")
    ]
    references = [
        registry.reference(image.repository, image.tag)
        for registry, image in zip((registries.one,) * 2 + (registries.two,) * 2, pushed, strict=True)
    ]
    ids = {pull(daemon, reference) for reference in references}
    (image,) = listed(daemon)
    assert ids == {image.id} == {pushed[0].config_digest}
    assert list(image.repo_tags) == sorted(references), "tags of all registries, in one entry"
    assert len(image.repo_digests) == 4
    pod = daemon.run_pod(host_network=True)
    names_and_references = [(image.id, ""), (image.repo_digests[1], image.repo_digests[1])]
    names_and_references += [
        (references[at], f"{references[at].removesuffix(f':{pushed[at].tag}')}@{pushed[at].digest}") for at in (0, 3)
    ]
    for number, (name, wanted) in enumerate(names_and_references):
        container = daemon.run_container(pod, "sleep", "1000", name=f"c{number}", image=name)
        status = daemon.status(container)
        assert status.image_id == image.id
        assert status.image_ref in ([wanted] if wanted else image.repo_digests)
        assert status.image.image == name
    assert {container.image_id for container in daemon.containers()} == {image.id}


def test_every_name_finds_the_image(daemon: Daemon, registries: Registries) -> None:
    pushed = push_hello(registries.one)
    name = registries.one.reference(pushed.repository, "v1")
    image_id = pull(daemon, name)
    image = find(daemon, image_id)
    bare = image_id.removeprefix("sha256:")
    for word in (name, bare, bare[:12], f"sha256:{bare[:12]}", f"{name}@{pushed.digest}",
                 f"{registries.one.address}/{pushed.repository}@{pushed.digest}"):  # fmt: skip
        assert find(daemon, word) == image, word
        wanted = pb.ListImagesRequest(filter=pb.ImageFilter(image=pb.ImageSpec(image=word)))
        assert list(daemon.images.ListImages(wanted).images) == [image], word
    for word in ("0" * 64, f"sha256:{'0' * 64}", registries.one.reference(pushed.repository, "v2"), "busybox", "a b"):
        assert find(daemon, word) is None, word
        wanted = pb.ListImagesRequest(filter=pb.ImageFilter(image=pb.ImageSpec(image=word)))
        assert list(daemon.images.ListImages(wanted).images) == [], word


@pytest.mark.parametrize(
    ("user", "uid", "username"),
    [
        ("", None, ""),
        ("0", 0, ""),
        ("1000", 1000, ""),
        ("1000:1000", 1000, ""),
        ("1000:grp", 1000, ""),
        ("www", None, "www"),
        ("www:grp", None, "www"),
        ("www:5", None, "www"),
    ],
)
def test_the_user_of_an_image(
    daemon: Daemon, registries: Registries, user: str, uid: int | None, username: str
) -> None:
    pushed = push_image(registries.one, names.unique("app"), "v1", [marker("user")], {"User": user})
    image = find(daemon, pull(daemon, registries.one.reference(pushed.repository, "v1")))
    assert image is not None
    assert image.username == username
    assert image.HasField("uid") == (uid is not None)
    assert image.uid.value == (uid or 0)


def test_a_tag_that_moves_leaves_the_old_image_to_be_collected(daemon: Daemon, registries: Registries) -> None:
    old = push_hello(registries.one)
    name = registries.one.reference(old.repository, "v1")
    old_id = pull(daemon, name)
    new_id = pull(daemon, registries.one.reference(push_hello(registries.one, old.repository).repository, "v1"))
    assert old_id != new_id
    dangling = find(daemon, old_id)
    assert dangling is not None
    assert (list(dangling.repo_tags), len(dangling.repo_digests)) == ([], 1)
    assert find(daemon, name) == find(daemon, new_id)
    assert len(listed(daemon)) == 2


def test_removal_takes_all_names_and_may_be_repeated(daemon: Daemon, registries: Registries) -> None:
    layers = [marker(names.unique("m"))]
    repository = names.unique("app")
    for registry in (registries.one, registries.two):
        push_image(registry, repository, "v1", layers)
    kept = push_hello(registries.one)
    pull(daemon, registries.one.reference(kept.repository, "v1"))
    image_id = pull(daemon, registries.one.reference(repository, "v1"))
    pull(daemon, registries.two.reference(repository, "v1"))
    remove(daemon, registries.two.reference(repository, "v1"))
    for word in (image_id, registries.one.reference(repository, "v1"), registries.two.reference(repository, "v1")):
        assert find(daemon, word) is None
        remove(daemon, word)
    assert [image.id for image in listed(daemon)] == [kept.config_digest]


def test_removals_at_the_same_time_all_succeed(daemon: Daemon, registries: Registries) -> None:
    pushed = push_hello(registries.one)
    name = registries.one.reference(pushed.repository, "v1")
    image_id = pull(daemon, name)

    def take(word: str) -> bool:
        remove(daemon, word)
        return find(daemon, image_id) is None

    with ThreadPoolExecutor(8) as threads:
        gone = list(threads.map(take, [image_id, name] * 4))
    assert gone == [True] * 8, "no removal returns before the image is invisible"


def test_pulls_and_removals_at_the_same_time(daemon: Daemon, registries: Registries) -> None:
    """Whoever comes last: each call succeeds, and what is listed is whole."""
    shared = marker(names.unique("shared"))
    pushed = [
        push_image(registries.one, names.unique("app"), "v1", [shared, marker(names.unique("own"))]) for _ in "ab"
    ]
    references = [registries.one.reference(image.repository, "v1") for image in pushed]
    ids = dict(zip(references, (image.config_digest for image in pushed), strict=True))

    def pull_and_remove(reference: str) -> None:
        for _ in range(5):
            assert pull(daemon, reference) == ids[reference]
            remove(daemon, reference)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(pull_and_remove, references * 3))
    for reference in references:
        assert pull(daemon, reference) == ids[reference]
    assert {image.id for image in listed(daemon)} == set(ids.values())
    for reference in references:
        remove(daemon, reference)
    assert listed(daemon) == []
    daemon.wait_until_nothing_is_stored()


def test_an_image_in_use(daemon: Daemon, registries: Registries) -> None:
    pushed = push_hello(registries.one)
    name = registries.one.reference(pushed.repository, "v1")
    image_id = pull(daemon, name)
    pod = daemon.run_pod(host_network=True)
    container = daemon.run_container(pod, "sleep", "1000", image=image_id)
    remove(daemon, name)
    assert listed(daemon) == []
    assert daemon.exec(container, "ls", "/bin/busybox").stdout == b"/bin/busybox\n", "its layers stay under it"
    status = daemon.status(container)
    assert (status.image_id, status.state) == (image_id, pb.CONTAINER_RUNNING)
    code, words = refusal(lambda: daemon.run_container(pod, "sleep", "1000", name="second", image=image_id))
    assert code == grpc.StatusCode.NOT_FOUND
    assert "pull it first" in words
    assert pull(daemon, name) == image_id, "a new pull takes the layers that are still there"
    daemon.run_container(pod, "sleep", "1000", name="second", image=image_id)
    remove(daemon, name)
    daemon.remove_pod(pod)
    daemon.wait_until_nothing_is_stored()


def test_wrong_credentials_fail_though_the_image_is_here(daemon: Daemon, registries: Registries) -> None:
    pushed = push_hello(registries.locked)
    name = registries.locked.reference(pushed.repository, "v1")
    image_id = pull(daemon, name, ALICE)
    assert image_id == pushed.config_digest
    for auth in (MALLORY, None):
        code, words = refusal(partial(pull, daemon, name, auth))
        assert code == grpc.StatusCode.UNAUTHENTICATED
        assert registries.locked.address in words
        assert "wrong" not in words, "no secret in an error"
        assert "xyzzy" not in words
    with ThreadPoolExecutor(6) as threads:
        calls = [threads.submit(pull, daemon, name, auth) for auth in (ALICE, MALLORY, ALICE, MALLORY)]
        outcomes = [call.exception() is None for call in calls]
    assert outcomes == [True, False, True, False], "a pull is shared by equals only"
    assert find(daemon, name) is not None


@pytest.mark.parametrize("kind", ["base64", "base64 without padding", "address", "node"])
def test_the_ways_to_give_credentials(daemon: Daemon, registries: Registries, directory: Path, kind: str) -> None:
    locked = registries.locked
    pushed = push_image(locked, names.unique("app"), "v1", [marker("x")])
    encoded = base64.b64encode(b"alice:xyzzy").decode()
    auth: pb.AuthConfig | None = {
        "base64": pb.AuthConfig(auth=encoded),
        "base64 without padding": pb.AuthConfig(auth=encoded.rstrip("=")),
        "address": pb.AuthConfig(username="alice", password="xyzzy", server_address=f"https://{locked.address}"),
    }.get(kind)
    file = directory / "auth.json"
    if kind == "node":
        file.write_text(json.dumps({"auths": {locked.address: {"auth": encoded}}}))
    try:
        assert pull(daemon, locked.reference(pushed.repository, "v1"), auth) == pushed.config_digest
    finally:
        file.unlink(missing_ok=True)


def test_credentials_for_another_registry_stay_here(daemon: Daemon, registries: Registries) -> None:
    pushed = push_image(registries.locked, names.unique("app"), "v1", [marker("x")])
    auth = pb.AuthConfig(username="alice", password="xyzzy", server_address="registry.example")
    code, _ = refusal(partial(pull, daemon, registries.locked.reference(pushed.repository, "v1"), auth))
    assert code == grpc.StatusCode.UNAUTHENTICATED


def test_a_certificate_that_nobody_vouches_for(
    daemon: Daemon, registries: Registries, directory: Path, tmp_path: Path
) -> None:
    locked = registries.locked
    pushed = push_image(locked, names.unique("app"), "v1", [marker("x")])
    name = locked.reference(pushed.repository, "v1")
    assert locked.ca is not None
    other = tmp_path / "other"
    with running_registry(other, tls=True) as stranger:
        write_hosts(directory, locked.address, f'ca = "{stranger.ca}"\n')
        try:
            code, words = refusal(partial(pull, daemon, name, ALICE))
        finally:
            write_hosts(directory, locked.address, f'ca = "{locked.ca}"\n')
    assert code == grpc.StatusCode.UNKNOWN
    assert words.startswith("RegistryUnavailable")
    assert "certificate" in words
    assert pull(daemon, name, ALICE) == pushed.config_digest, "hosts.toml is read again, without a restart"


def test_a_mirror_for_all_registries(daemon: Daemon, registries: Registries, directory: Path) -> None:
    pushed = push_hello(registries.one)
    write_hosts(directory, "_default", f'[host."http://{registries.one.address}"]\n')
    name = f"registry.invalid/{pushed.repository}:v1"
    try:
        assert pull(daemon, name) == pushed.config_digest
        (image,) = listed(daemon)
        assert image.repo_tags == [name], "the name the user gave, not the mirror's"
        assert image.repo_digests == [f"registry.invalid/{pushed.repository}@{pushed.digest}"]
        code, words = refusal(lambda: pull(daemon, f"registry.invalid/{names.unique('none')}:v1"))
        assert code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNKNOWN)
        assert "registry.invalid" in words
        assert registries.one.address in words, "it tells what the mirror said as well"
    finally:
        (directory / "certs.d/_default/hosts.toml").unlink()


@pytest.mark.parametrize("compression", ["", "gzip", "zstd"])
@pytest.mark.parametrize("docker", [False, True])
def test_kinds_of_layers(daemon: Daemon, registries: Registries, compression: Compression, docker: bool) -> None:
    pushed = push_image(
        registries.one, names.unique("app"), "v1", [HELLO_LAYER, marker("above", 100_000)], {"Cmd": ["sleep", "1000"]},
        compression=compression, docker=docker,
    )  # fmt: skip
    name = registries.one.reference(pushed.repository, "v1")
    pull(daemon, name)
    pod = daemon.run_pod(host_network=True)
    container = daemon.run_container(pod, image=name)
    assert daemon.exec(container, "busybox", "wc", "-c", "/marks/above").stdout.split()[0] == b"100000"


def test_an_index_gives_this_machines_image(daemon: Daemon, registries: Registries) -> None:
    repository = names.unique("multi")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    mine = push_image(registries.one, repository, "mine", [HELLO_LAYER, marker("mine")], architecture=machine)
    others = {
        f"linux/{name}": push_image(registries.one, repository, name, [marker(name)], architecture=name)
        for name in ("s390x", "ppc64le", "riscv64")
    }
    index = push_index(registries.one, repository, "v1", {**others, f"linux/{machine}": mine})
    name = registries.one.reference(repository, "v1")
    assert pull(daemon, name) == mine.config_digest
    (image,) = listed(daemon)
    assert image.repo_digests == [f"{registries.one.address}/{repository}@{digest_of(index)}"]
    container = daemon.run_container(daemon.run_pod(host_network=True), "sleep", "1000", image=name)
    assert daemon.exec(container, "ls", "/marks").stdout == b"mine\n"
    push_index(registries.one, repository, "foreign", others)
    code, words = refusal(lambda: pull(daemon, registries.one.reference(repository, "foreign")))
    assert code == grpc.StatusCode.NOT_FOUND
    assert "linux/s390x" in words, "it tells what there would be"


def test_an_image_of_120_layers_runs(daemon: Daemon, registries: Registries) -> None:
    layers = [HELLO_LAYER]
    for number in range(1, 120):
        files = {"layers/": b"", f"layers/{number}": b"%d" % number, "layers/newest": b"%d" % number}
        if number % 10 == 0:
            files[f"layers/.wh.{number - 1}"] = b""
        layers.append(tar_layer(files))
    pushed = push_image(registries.one, names.unique("deep"), "v1", layers)
    name = registries.one.reference(pushed.repository, "v1")
    pull(daemon, name)
    container = daemon.run_container(daemon.run_pod(host_network=True), "sleep", "1000", image=name)
    seen = daemon.exec(container, "ls", "/layers").stdout.decode().split()
    assert set(seen) == {"newest"} | {str(number) for number in range(1, 120) if number % 10 != 9 or number == 119}
    assert daemon.exec(container, "cat", "/layers/1", "/layers/119", "/layers/newest").stdout == b"1119119"
    assert daemon.exec(container, "sh", "-c", "echo x > /layers/1 && cat /layers/1").stdout == b"x\n"


def test_a_millisecond_is_not_enough_and_removal_takes_what_came(daemon: Daemon, registries: Registries) -> None:
    pushed = push_hello(registries.one)
    name = registries.one.reference(pushed.repository, "v1")
    code, _ = refusal(lambda: pull(daemon, name, timeout=0.001))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert find(daemon, name) is None

    # The pull ends with its caller, a moment later; what it has brought in by then waits for the next one.
    def nothing_after_removal() -> bool:
        remove(daemon, name)
        return not daemon.stored()

    wait_for(nothing_after_removal, daemon.stored)


def test_what_images_take_of_the_disk(daemon: Daemon, registries: Registries) -> None:
    def usage() -> pb.FilesystemUsage:
        answer = daemon.images.ImageFsInfo(pb.ImageFsInfoRequest())
        assert len(answer.image_filesystems) == len(answer.container_filesystems) == 1
        usage = answer.image_filesystems[0]
        assert isinstance(usage, pb.FilesystemUsage)
        return usage

    before = usage()
    pushed = push_hello(registries.one)
    pull(daemon, registries.one.reference(pushed.repository, "v1"))
    after = usage()
    assert Path(after.fs_id.mountpoint).is_dir()
    assert Path(after.fs_id.mountpoint).is_relative_to(daemon.root)
    assert after.timestamp > before.timestamp
    grown = after.used_bytes.value - before.used_bytes.value
    packed = sum(map(len, pushed.layers))
    assert grown > len(HELLO_LAYER) - 20_000 + packed, "what was downloaded and what was unpacked"
    assert after.inodes_used.value > before.inodes_used.value
    remove(daemon, pushed.config_digest)
    assert usage().used_bytes.value == before.used_bytes.value


@pytest.mark.parametrize("form", ["oci", "docker"])
def test_saved_removed_and_loaded_it_is_the_same_image(
    daemon: Daemon, registries: Registries, tmp_path: Path, form: str
) -> None:
    pushed = push_hello(registries.one, config={"User": "nobody", "Env": ["PATH=/bin", "A=b"]})
    name = registries.one.reference(pushed.repository, "v1")
    image_id = pull(daemon, name)
    archive = tmp_path / "image.tar"
    answer = daemon.podwright.SaveImage(own.SaveImageRequest(images=[name], path=str(archive), format=form))
    assert answer.bytes_written == archive.stat().st_size > 0
    remove(daemon, name)
    daemon.wait_until_nothing_is_stored()
    loaded = daemon.podwright.LoadImage(own.LoadImageRequest(path=str(archive)))
    assert (list(loaded.ids), list(loaded.names)) == ([image_id], [name])
    image = find(daemon, name)
    assert image is not None
    assert (image.id, image.username) == (image_id, "nobody")
    container = daemon.run_container(daemon.run_pod(host_network=True), "sleep", "1000", image=image_id)
    assert daemon.exec(container, "sh", "-c", "id -u; echo $A").stdout == b"65534\nb\n"


@pytest.mark.parametrize(
    ("call", "code", "words"),
    [
        (lambda d: pull(d, ""), grpc.StatusCode.INVALID_ARGUMENT, "image.image"),
        (lambda d: pull(d, "Upper/Case:x"), grpc.StatusCode.INVALID_ARGUMENT, "lower case"),
        (lambda d: pull(d, "a" * 64), grpc.StatusCode.INVALID_ARGUMENT, "image id"),
        (lambda d: pull(d, "localhost:1/app@sha256:12"), grpc.StatusCode.INVALID_ARGUMENT, "digest"),
        (lambda d: pull(d, "localhost:1/a", pb.AuthConfig(auth="?")), grpc.StatusCode.INVALID_ARGUMENT, "base64"),
        (lambda d: find(d, ""), grpc.StatusCode.INVALID_ARGUMENT, "image.image"),
        (lambda d: remove(d, ""), grpc.StatusCode.INVALID_ARGUMENT, "image.image"),
        (
            lambda d: d.podwright.LoadImage(own.LoadImageRequest(path="x.tar")),
            grpc.StatusCode.INVALID_ARGUMENT,
            "absolute",
        ),
        (
            lambda d: d.podwright.SaveImage(own.SaveImageRequest(images=["none"], path="/tmp/none.tar")),
            grpc.StatusCode.NOT_FOUND,
            "'none' is not here",
        ),
    ],
)
def test_bad_requests(daemon: Daemon, call: Callable[[Daemon], object], code: grpc.StatusCode, words: str) -> None:
    got, said = refusal(lambda: call(daemon))
    assert got == code
    assert words in said
