"""What goes wrong around the daemon: each fault is one clear error with the right code, and leaves nothing behind.

Registries that lie, runtimes, monitors and CNI plugins that fail or hang, and configuration that can't be used.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import subprocess  # noqa: TID251 - a daemon that doesn't start, as a person would see it
import sys
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import grpc
import pytest
from aiohttp import web

from podwright.criapi import api_pb2 as pb
from tests.support import names, tars
from tests.support.daemon import Daemon, container_config
from tests.support.fake_registry import Answer, FakeRegistry, fake_registry
from tests.support.images import find, listed, marker, pull, refusal, registry_config, remove, serve_image
from tests.support.registry import PushedImage, digest_of, make_image

pytestmark = pytest.mark.root

RUNTIME = """#!/bin/sh
for word in "$@"; do
    case "$word" in {verb}) {deed} ;; esac
done
exec runc "$@"
"""
SAY = 'echo "the gears of this runtime are missing" >&2; exit 1'
HANG = "exec sleep 1000"
RUNTIMES = {
    "create-fails": ("create", SAY),
    "create-is-silent": ("create", "exit 7"),
    "create-hangs": ("create", HANG),
    "start-fails": ("start", SAY),
    "start-hangs": ("start", HANG),
    "delete-fails": ("delete", f"test ! -e $0.broken || {{ {SAY}; }}"),
}
PLUGIN = """#!/bin/sh
cat > /dev/null
case "$CNI_COMMAND" in
ADD) {add} ;;
DEL) {delete} ;;
esac
"""
ERROR = """echo '{"cniVersion":"1.0.0","code":103,"msg":"no address is left","details":"pool a"}'; exit 1"""
RESULT = """echo '{"cniVersion":"1.0.0","ips":[{"address":"10.99.0.2/24"}]}'"""
PLUGINS = {
    "add-fails": (ERROR, ""),
    "add-talks-nonsense": ("echo 'hello there'", ""),
    "add-hangs": (HANG, ""),
    "all-hangs": (HANG, f"test -e $0.mended || {HANG}"),
    "del-fails": (RESULT, "test -e $0.mended || { echo 'no route to the switch' >&2; exit 3; }"),
}


def program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of runtimes and CNI plugins that fail."""
    directory = tmp_path_factory.mktemp("programs")
    for name, (verb, deed) in RUNTIMES.items():
        program(directory / name, RUNTIME.format(verb=verb, deed=deed))
    for name, (add, delete) in PLUGINS.items():
        program(directory / name, PLUGIN.format(add=add, delete=delete))
    return directory


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, programs: Path) -> Iterator[Daemon]:
    handlers = "".join(f'[runtime.handlers.{name}]\npath = "{programs}/{name}"\n' for name in RUNTIMES)
    more = (
        f"max_layer_bytes = {64 << 20}\nmax_layer_entries = 5000\n{handlers}[monitor]\ncreate_timeout_s = 1\n"
        f'[network]\nplugin_timeout_s = 0.5\nplugin_dirs = ["{programs}", "/usr/lib/cni"]\n'
    )
    daemon = Daemon(tmp_path_factory.mktemp("f"), config=registry_config(tmp_path_factory.mktemp("etc"), more=more))
    daemon.extra_environment = {"PODWRIGHT_RUNTIME_TIMEOUT_S": "1"}
    daemon.start()
    try:
        daemon.load_hello()
        # The first pod makes the bridge, which stays: no test is to be blamed for it.
        daemon.remove_pod(daemon.run_pod("first"))
        yield daemon
    finally:
        daemon.remove_everything()
    assert daemon.leftovers() == []


@pytest.fixture
def daemon(server: Daemon) -> Iterator[Daemon]:
    """One daemon for all tests. After each of them it must be as it was: the pods, images and files of before."""
    images, stored = listed(server), server.stored()
    conflist = server.cni_dir / "10-test.conflist"
    network = conflist.read_text()
    yield server
    conflist.write_text(network)
    assert server.pods() == []
    assert server.leftovers() == []
    assert listed(server) == images
    deadline = time.monotonic() + 3
    while server.stored() != stored:
        left = set(server.stored()) - set(stored)
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.02)  # noqa: TID251 - no event loop here


# -- registries


@pytest.fixture
async def fake() -> AsyncIterator[FakeRegistry]:
    async with fake_registry() as running:
        yield running


async def refused(daemon: Daemon, name: str, auth: pb.AuthConfig | None = None) -> tuple[grpc.StatusCode, str]:
    """A pull that fails, and after which there is no image of that name."""
    answer = await asyncio.to_thread(refusal, partial(pull, daemon, name, auth))
    assert await asyncio.to_thread(find, daemon, name) is None
    return answer


def plain_image(*layers: bytes) -> PushedImage:
    return make_image(names.unique("app"), "v1", layers or [marker(names.unique("m"))])


async def test_an_unknown_image(daemon: Daemon, fake: FakeRegistry) -> None:
    image = plain_image()
    serve_image(fake, image)
    for name in (f"{fake.address}/{image.repository}:v2", f"{fake.address}/nothing@{digest_of(b'')}"):
        code, words = await refused(daemon, name)
        assert code == grpc.StatusCode.NOT_FOUND
        assert name in words


@pytest.mark.parametrize("name", ["127.0.0.1:1/app:v1", "registry.invalid/app:v1"])
def test_an_unknown_registry(daemon: Daemon, name: str) -> None:
    code, words = refusal(lambda: pull(daemon, name))
    assert code == grpc.StatusCode.UNKNOWN, "any other code hides the prefix from the kubelet"
    assert words.startswith("RegistryUnavailable")
    assert name.partition("/")[0] in words


@pytest.mark.parametrize("status", [500, 503, 502])
async def test_a_registry_that_is_ill(daemon: Daemon, fake: FakeRegistry, status: int) -> None:
    async def ill(request: web.Request) -> Answer:
        return web.Response(status=status, text="<html>oh\nno</html>")

    fake.faults.append(ill)
    code, words = await refused(daemon, f"{fake.address}/app:v1")
    assert code == grpc.StatusCode.UNKNOWN
    assert words.startswith("RegistryUnavailable")
    assert str(status) in words


async def test_a_wrong_password(daemon: Daemon, fake: FakeRegistry) -> None:
    async def locked(request: web.Request) -> Answer:
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="fake"'})

    fake.faults.append(locked)
    name = serve_image(fake, plain_image())
    code, words = await refused(daemon, name, pb.AuthConfig(username="alice", password="xyzzy"))
    assert code == grpc.StatusCode.UNAUTHENTICATED
    assert "'alice'" in words
    assert "xyzzy" not in words
    assert "xyzzy" not in daemon.log_tail()


@pytest.mark.parametrize("what", ["layer", "config", "manifest"])
async def test_a_digest_mismatch(daemon: Daemon, fake: FakeRegistry, what: str) -> None:
    image = plain_image()
    name = serve_image(fake, image)
    if what == "manifest":
        name = f"{fake.address}/{image.repository}@{image.digest}"
        path = f"{image.repository}/manifests/{image.digest}"
        expected, right = image.digest, fake.manifests[path][1]
        fake.manifests[path] = (fake.manifests[path][0], right.replace(b"schemaVersion", b"schemaversion"))
    else:
        expected = image.layer_digests[0] if what == "layer" else image.config_digest
        right = fake.blobs[expected]
        fake.blobs[expected] = right[:-1] + bytes([right[-1] ^ 1])
    code, words = await refused(daemon, name)
    assert code == grpc.StatusCode.DATA_LOSS
    assert expected in words
    assert fake.address in words, "it tells who sent the wrong bytes"


ESCAPES = {
    "dots": ("../../etc/{token}", tars.file(b"../../etc/{token}", b"x")),
    "deep dots": ("a/../../../{token}", tars.file(b"a/../../../{token}", b"x")),
    "hard link": ("steal", tars.hard_link(b"steal", b"../../../../../../etc/hostname")),
}
HARMLESS = {
    "through a symlink": [tars.symlink(b"out", b"/tmp"), tars.file(b"out/{token}", b"x")],
    "through a relative symlink": [tars.symlink(b"out", b"../../../../../../../tmp"), tars.file(b"out/{token}", b"x")],
    "symlink replaced": [tars.symlink(b"out", b"/tmp/{token}"), tars.file(b"out", b"x")],
    "whiteout through a symlink": [tars.symlink(b"out", b"/tmp"), tars.file(b"out/.wh.{token}")],
}


@pytest.mark.parametrize("kind", ESCAPES)
async def test_a_layer_that_escapes(daemon: Daemon, fake: FakeRegistry, kind: str) -> None:
    entry, data = ESCAPES[kind]
    token = names.unique("escaped")
    evil = tars.archive(retoken(data, token))
    image = plain_image(marker("fine"), evil)
    name = serve_image(fake, image)
    code, words = await refused(daemon, name)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert entry.replace("{token}", token) in words, "it names the entry"
    assert image.layer_digests[1] in words, "and the layer"
    for directory in ("/etc", "/tmp", "/", daemon.root, daemon.root / "snapshots", daemon.root / "snapshots/staging"):
        assert not Path(directory, token).exists()


@pytest.mark.parametrize("kind", HARMLESS)
async def test_symlinks_of_a_layer_lead_nowhere_else(daemon: Daemon, fake: FakeRegistry, kind: str) -> None:
    token = names.unique("escaped")
    victim = Path("/tmp", token)
    image = plain_image(tars.archive(*(retoken(entry, token) for entry in HARMLESS[kind])))
    name = serve_image(fake, image)
    if "whiteout" in kind:
        victim.write_text("still here")
    try:
        await asyncio.to_thread(pull, daemon, name)
        assert victim.exists() == ("whiteout" in kind)
    finally:
        victim.unlink(missing_ok=True)
    remove(daemon, name)


def retoken(entry: bytes, token: str) -> bytes:
    """`{token}` in a header's names becomes a word that no other run uses; the checksum is made anew."""
    block = bytearray(entry[:512])
    for start in (0, 157):
        text = bytes(block[start : start + 100]).rstrip(b"\0").replace(b"{token}", token.encode())
        block[start : start + 100] = text.ljust(100, b"\0")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + entry[512:]


async def test_bombs(daemon: Daemon, fake: FakeRegistry) -> None:
    """Small things to send that are big to receive. What the daemon takes of memory stays what it was."""
    zeros = gzip.compress(bytes(80 << 20), 1)
    crowd = gzip.compress(tars.archive(*(tars.file(b"%d" % number) for number in range(5001))), 1)
    assert daemon.process is not None
    before = resident_bytes(daemon.process.pid)
    for layer, words in ((zeros, "bytes"), (crowd, "5000 entries")):
        image = make_image(names.unique("bomb"), "v1", [layer], compression="")
        manifest = image.manifest.replace(b"layer.v1.tar", b"layer.v1.tar+gzip")
        for blob in (layer, image.config):
            fake.add_blob(blob)
        fake.add_manifest(image.repository, "v1", manifest, image.media_type)
        code, said = await refused(daemon, f"{fake.address}/{image.repository}:v1")
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert words in said
        assert image.layer_digests[0] in said
    assert resident_bytes(daemon.process.pid) < before + (30 << 20)


def manifest_of(layer_count: int, **changes: object) -> bytes:
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest_of(b"x"), "size": 1}
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest_of(b"{}"), "size": 2}
    media_type = "application/vnd.oci.image.manifest.v1+json"
    document = {"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [layer] * layer_count}
    return json.dumps({**document, **changes}).encode()


@pytest.mark.parametrize(
    "data",
    [
        manifest_of(1, annotations={"x": "y" * (5 << 20)}),
        b"[" * 1_000_000,
        b'{"schemaVersion":2,"layers":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        manifest_of(20_000),
        manifest_of(1, config={"mediaType": "x", "digest": digest_of(b"{}"), "size": 1 << 40}),
        manifest_of(1, layers=[{"mediaType": "x", "digest": "sha256:../../../../etc/passwd", "size": 1}]),
        manifest_of(1, layers=[{"mediaType": "x", "digest": digest_of(b"x"), "size": -1}]),
        manifest_of(1, schemaVersion=1),
        b"\xff\xfe",
        b"",
    ],
    ids=["long", "deep", "deep layers", "20000 layers", "big config", "path as digest", "negative size", "schema 1",
         "no text", "empty"],
)  # fmt: skip
async def test_a_manifest_bomb(daemon: Daemon, fake: FakeRegistry, data: bytes) -> None:
    fake.add_blob(b"{}")
    fake.add_blob(b"x")
    fake.add_manifest("bomb", "v1", data)
    code, words = await refused(daemon, f"{fake.address}/bomb:v1")
    assert code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNKNOWN, grpc.StatusCode.NOT_FOUND), words
    assert len(words) < 1000


async def test_an_index_that_holds_itself(daemon: Daemon, fake: FakeRegistry) -> None:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    media_type = "application/vnd.oci.image.index.v1+json"
    inner, size = digest_of(b"x"), 1
    for _ in range(10):
        entry = {"mediaType": media_type, "digest": inner, "size": size,
                 "platform": {"os": "linux", "architecture": machine}}  # fmt: skip
        data = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": [entry]}).encode()
        inner, size = fake.add_manifest("index", "v1", data, media_type), len(data)
    code, words = await refused(daemon, f"{fake.address}/index:v1")
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "indexes within indexes" in words


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# -- runtimes and monitors


@pytest.mark.parametrize(
    ("handler", "code", "words"),
    [
        ("create-fails", grpc.StatusCode.INTERNAL, "the gears of this runtime are missing"),
        ("create-is-silent", grpc.StatusCode.INTERNAL, "create"),
        ("create-hangs", grpc.StatusCode.DEADLINE_EXCEEDED, "within 1 s"),
    ],
)
def test_a_runtime_that_does_not_create(daemon: Daemon, handler: str, code: grpc.StatusCode, words: str) -> None:
    pod = daemon.run_pod(handler=handler)
    got, said = refusal(lambda: daemon.create(pod, container_config("main", "sleep", "1000")))
    assert got == code
    assert words in said
    assert daemon.containers() == []
    assert not list((daemon.run / "containers").iterdir())
    daemon.remove_pod(pod)


@pytest.mark.parametrize(
    ("handler", "code", "words"),
    [
        ("start-fails", grpc.StatusCode.INTERNAL, "the gears of this runtime are missing"),
        ("start-hangs", grpc.StatusCode.DEADLINE_EXCEEDED, "within 1 s"),
    ],
)
def test_a_runtime_that_does_not_start(daemon: Daemon, handler: str, code: grpc.StatusCode, words: str) -> None:
    pod = daemon.run_pod(handler=handler)
    container = daemon.create(pod, container_config("main", "sleep", "1000"))
    got, said = refusal(lambda: daemon.start_container(container))
    assert got == code
    assert words in said
    status = daemon.status(container)
    assert (status.state, status.reason, status.exit_code) == (pb.CONTAINER_EXITED, "StartError", 128)
    assert words in status.message
    assert 0 < status.created_at <= status.started_at <= status.finished_at
    daemon.remove_container(container)
    daemon.remove_pod(pod)


def test_a_runtime_that_does_not_delete(daemon: Daemon, programs: Path) -> None:
    pod = daemon.run_pod(handler="delete-fails", host_network=True)
    container = daemon.run_container(pod, "sleep", "1000")
    broken = programs / "delete-fails.broken"
    broken.touch()
    try:
        code, words = refusal(lambda: daemon.remove_container(container))
        assert code == grpc.StatusCode.INTERNAL
        assert "the gears of this runtime are missing" in words
        assert daemon.status(container).state == pb.CONTAINER_EXITED
        assert refusal(lambda: daemon.remove_pod(pod))[0] == grpc.StatusCode.INTERNAL
        assert len(daemon.pods()) == 1, "what can't be removed stays to be seen"
    finally:
        broken.unlink()
    daemon.remove_pod(pod)


@pytest.mark.parametrize(
    ("monitor", "code", "words"),
    [
        ("/nonexistent/conmon", grpc.StatusCode.FAILED_PRECONDITION, "apt-get install conmon"),
        ("/bin/false", grpc.StatusCode.INTERNAL, "monitor"),
    ],
)
def test_a_monitor_that_is_missing_or_broken(tmp_path: Path, monitor: str, code: grpc.StatusCode, words: str) -> None:
    daemon = Daemon(tmp_path, config=f'[monitor]\npath = "{monitor}"\n')
    daemon.start()
    try:
        daemon.load_hello()
        conditions = {c.type: c for c in daemon.runtime.Status(pb.StatusRequest()).status.conditions}
        if "nonexistent" in monitor:
            assert not conditions["RuntimeReady"].status
            assert words in conditions["RuntimeReady"].message
        pod = daemon.run_pod(host_network=True)
        got, said = refusal(lambda: daemon.create(pod, container_config("main", "sleep", "1000")))
        assert got == code
        assert words in said
        assert daemon.containers() == []
        daemon.remove_pod(pod)
        assert daemon.leftovers() == []
    finally:
        daemon.remove_everything()


@pytest.mark.parametrize(
    ("command", "words"),
    [(["/no/such/program"], "/no/such/program"), (["/etc/passwd"], "permission denied"), (["/bin"], "/bin")],
)
@pytest.mark.parametrize("handler", ["crun", "runc"])
def test_a_command_that_can_not_run(daemon: Daemon, handler: str, command: list[str], words: str) -> None:
    pod = daemon.run_pod(handler=handler, host_network=True)
    code, said = refusal(lambda: daemon.run_container(pod, *command))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert words in said.lower()
    for container in daemon.containers():
        assert container.state == pb.CONTAINER_EXITED
    daemon.remove_pod(pod)


# -- networks


def use_plugin(daemon: Daemon, name: str, *, after_bridge: bool = False) -> None:
    """Put a plugin into the pod network, in the bridge's place or behind it."""
    path = daemon.cni_dir / "10-test.conflist"
    document = json.loads(path.read_text())
    bridge = [document["plugins"][0]] if after_bridge else []
    path.write_text(json.dumps({**document, "plugins": [*bridge, {"type": name}]}))


@pytest.mark.parametrize(
    ("plugin", "code", "words"),
    [
        ("add-fails", grpc.StatusCode.UNAVAILABLE, "no address is left: pool a"),
        ("add-talks-nonsense", grpc.StatusCode.UNAVAILABLE, "hello there"),
        ("add-hangs", grpc.StatusCode.DEADLINE_EXCEEDED, "0.5 s"),
    ],
)
@pytest.mark.parametrize("after_bridge", [False, True])
def test_a_cni_plugin_that_fails(
    daemon: Daemon, plugin: str, code: grpc.StatusCode, words: str, after_bridge: bool
) -> None:
    use_plugin(daemon, plugin, after_bridge=after_bridge)
    got, said = refusal(daemon.run_pod)
    assert got == code
    assert words in said
    assert repr(plugin) in said
    assert daemon.pods() == []


@pytest.mark.parametrize("plugin", ["all-hangs", "del-fails"])
def test_a_cni_plugin_that_does_not_let_go(daemon: Daemon, programs: Path, plugin: str) -> None:
    """The pod stays, NOTREADY, until its address can be given back."""
    use_plugin(daemon, plugin, after_bridge=True)
    if plugin == "all-hangs":
        code, words = refusal(daemon.run_pod)
    else:
        made = daemon.run_pod()
        code, words = refusal(lambda: daemon.remove_pod(made))
    assert code in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)
    assert repr(plugin) in words
    (pod,) = daemon.pods()
    assert pod.state == pb.SANDBOX_NOTREADY
    assert refusal(lambda: daemon.stop_pod(pod.id))[0] == code
    mended = programs / f"{plugin}.mended"
    mended.touch()
    try:
        daemon.stop_pod(pod.id)
        daemon.remove_pod(pod.id)
    finally:
        mended.unlink()


def test_a_network_configuration_that_is_no_json(daemon: Daemon) -> None:
    (daemon.cni_dir / "10-test.conflist").write_text('{"cniVersion": "1.0.0", "name": ')
    code, words = refusal(daemon.run_pod)
    assert code == grpc.StatusCode.UNAVAILABLE
    assert str(daemon.cni_dir / "10-test.conflist") in words
    conditions = {c.type: c for c in daemon.runtime.Status(pb.StatusRequest()).status.conditions}
    assert not conditions["NetworkReady"].status
    assert "10-test.conflist" in conditions["NetworkReady"].message


# -- configuration


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[server\nsocket = 1\n", "line 1"),
        ('[runtime]\n\ndefualt = "crun"\n', ":3: runtime.defualt: unknown key; did you mean 'default'?"),
        ("[image]\n# many\nmax_concurrent_unpacks = 0\n", ":3: image.max_concurrent_unpacks"),
        ("[image]\nmax_layer_bytes = 'lots'\n", ":2: image.max_layer_bytes: must be a whole number, not 'lots'"),
        ('[runtime]\ndefault = "no-such-runtime"\n', "runtime.default: handler 'no-such-runtime' is neither"),
        ('[state]\nroot = "relative"\n', ":2: state.root: must be an absolute path"),
    ],
)
def test_a_malformed_configuration(tmp_path: Path, text: str, where: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    words = [sys.executable, "-m", "podwright", "serve", "--config", str(file), "--socket", f"{tmp_path}/s"]
    if "[state]" not in text:
        words += ["--root", f"{tmp_path}/root"]
    words += ["--run", f"{tmp_path}/run"]
    done = subprocess.run(words, capture_output=True, check=False, timeout=30)
    said = (done.stderr + done.stdout).decode()
    assert done.returncode == 1
    assert where in said
    if "no-such-runtime" not in text:  # whether it is installed is known only later
        assert f"{file}:" in said
    assert "Traceback" not in said
    assert said.count("\n") == 1
    assert not (tmp_path / "s").exists()
