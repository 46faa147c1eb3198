"""Images that mean harm: links and special files where the daemon or a runtime looks, ids and paths beyond limits.

Whatever such an image does, the host stays as it was, the error says what is wrong, and nothing is left behind.
"""

from __future__ import annotations

import os
import subprocess  # noqa: TID251 - GNU tar writes what Python's tarfile can't
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import grpc
import pytest

from podwright.criapi import api_pb2 as pb
from tests.support import tars
from tests.support.daemon import Daemon, container_config
from tests.support.images import HELLO_LAYER, listed, load, refusal, remove

pytestmark = pytest.mark.root

INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("h"))
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.remove_everything()
    assert daemon.leftovers() == []


@pytest.fixture
def daemon(server: Daemon) -> Iterator[Daemon]:
    """One daemon for all tests; after each of them, and the removal of its pods and images, nothing is left."""
    yield server
    for pod in server.pods():
        server.remove_pod(pod.id)
    assert server.leftovers() == []
    for image in listed(server):
        remove(server, image.id)
    server.wait_until_nothing_is_stored()


@pytest.fixture(params=["crun", "runc"])
def handler(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A directory of the host that images point at. Nothing may come into it, and nothing change."""
    directory = tmp_path / "outside"
    directory.mkdir()
    (directory / "passwd").write_text("intruder:x:4242:4242::/:/bin/sh\n")
    yield directory
    assert os.listdir(directory) == ["passwd"]
    assert (directory / "passwd").read_text().startswith("intruder")


def image(daemon: Daemon, *entries: bytes, config: Mapping[str, object] | None = None) -> str:
    """Busybox, and a layer of `entries` over it."""
    layers = [HELLO_LAYER, tars.archive(*entries)] if entries else [HELLO_LAYER]
    return load(daemon, layers, config)


def ups(path: Path) -> bytes:
    """A relative path that leads there from any depth, where nobody stops it."""
    return b"../" * 12 + os.fsencode(path)[1:]


def output(daemon: Daemon, image_id: str, handler: str, *command: str, mounts: Sequence[pb.Mount] = ()) -> str:
    """What a container prints."""
    pod = daemon.run_pod(handler=handler, host_network=True)
    container = daemon.run_container(pod, *command, image=image_id, mounts=mounts)
    status = daemon.wait_exit(container)
    lines = Path(status.log_path).read_text().splitlines()
    Path(status.log_path).unlink()
    daemon.remove_pod(pod)
    return "\n".join(line.split(" ", 3)[3] for line in lines)


def refused(daemon: Daemon, image_id: str, handler: str = "", **options: object) -> tuple[grpc.StatusCode, str]:
    """Code and words of a creation that has to fail."""
    pod = daemon.run_pod(handler=handler, host_network=True)
    config = container_config("main", "sleep", "1000", image=image_id, **options)  # type: ignore[arg-type]
    answer = refusal(lambda: daemon.create(pod, config))
    assert daemon.containers() == []
    daemon.remove_pod(pod)
    return answer


# -- working directories


@pytest.mark.parametrize(
    "path",
    ["/proc/self/fd/7", "/proc/self/fd/../fd/8/", "/proc/self/cwd", "/proc/1/root", "/dev/fd/7", "//proc/self/fd/7"],
)
def test_a_working_directory_among_the_runtimes_open_files(daemon: Daemon, handler: str, path: str) -> None:
    code, words = refused(daemon, image(daemon, config={"WorkingDir": path}), handler)
    assert code == INVALID
    assert words == f"working_dir: {path!r} can't be a working directory"


@pytest.mark.parametrize("target", [b"/proc/self/fd/7", b"../../dev/fd/7", b"/link", b"/usr/../proc/self/fd"])
def test_a_working_directory_that_links_there(daemon: Daemon, handler: str, target: bytes) -> None:
    entries = tars.symlink(b"work", target), tars.symlink(b"link", b"/proc/self/fd/8")
    code, words = refused(daemon, image(daemon, *entries, config={"WorkingDir": "/work"}), handler)
    assert code == INVALID
    assert "'/work' can't be a working directory" in words


def test_a_working_directory_of_the_request_is_looked_at_as_well(daemon: Daemon) -> None:
    image_id = image(daemon, tars.symlink(b"work", b"/proc/self/fd/7"))
    for path in ("/proc/self/fd/7", "/work"):
        code, words = refused(daemon, image_id, working_dir=path)
        assert code == INVALID
        assert path in words


@pytest.mark.parametrize("relative", [False, True])
def test_a_working_directory_outside(daemon: Daemon, handler: str, outside: Path, relative: bool) -> None:
    target = ups(outside) if relative else os.fsencode(outside)
    linked = image(daemon, tars.symlink(b"work", target + b"/x"), config={"WorkingDir": "/work/y"})
    assert output(daemon, linked, handler, "sh", "-c", "pwd") == f"{outside}/x/y", "inside the container"
    dots = image(daemon, config={"WorkingDir": "/../../../.." + str(outside / "z")})
    assert output(daemon, dots, handler, "sh", "-c", "pwd") == f"{outside}/z"


@pytest.mark.parametrize(("path", "words"), [("/etc/passwd/x", "not a directory"), ("/loop", "not a directory")])
def test_a_working_directory_that_is_none(daemon: Daemon, path: str, words: str) -> None:
    image_id = image(daemon, tars.symlink(b"loop", b"loop"), config={"WorkingDir": path})
    code, said = refused(daemon, image_id)
    assert code == INVALID
    assert words in said
    assert path in said


# -- links where runtimes mount


@pytest.mark.parametrize("name", [b"dev", b"proc", b"sys"])
@pytest.mark.parametrize("kind", ["absolute", "relative", "inside", "file"])
def test_a_link_where_a_runtime_mounts(daemon: Daemon, handler: str, outside: Path, name: bytes, kind: str) -> None:
    entry = {
        "absolute": tars.symlink(name, os.fsencode(outside)),
        "relative": tars.symlink(name, ups(outside)),
        "inside": tars.symlink(name, b"tmp"),
        "file": tars.file(name, b"x"),
    }[kind]
    code, words = refused(daemon, image(daemon, entry), handler)
    assert code == INVALID
    assert f"/{name.decode()} in the image is not a directory" in words


@pytest.mark.parametrize("relative", [False, True])
def test_etc_as_a_link(daemon: Daemon, handler: str, outside: Path, relative: bool) -> None:
    """The pod's hosts and resolv.conf are mounted behind it: inside."""
    image_id = image(daemon, tars.symlink(b"etc", ups(outside) if relative else os.fsencode(outside)))
    assert "127.0.0.1" in output(daemon, image_id, handler, "cat", "/etc/hosts")


@pytest.mark.parametrize("below", ["", "/below"])
def test_a_volume_behind_a_link(daemon: Daemon, handler: str, outside: Path, tmp_path: Path, below: str) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "file").write_text("of the volume")
    image_id = image(daemon, tars.symlink(b"data", ups(outside)), tars.symlink(b"gone", b"/not/there"))
    for path in ("/data", "/gone"):
        mount = pb.Mount(container_path=path + below, host_path=str(volume))
        assert output(daemon, image_id, handler, "cat", f"{path}{below}/file", mounts=[mount]) == "of the volume"
    assert os.listdir(volume) == ["file"]


def test_devices_and_links_below_dev_are_not_the_images(daemon: Daemon, handler: str, outside: Path) -> None:
    entries = (
        tars.directory(b"dev"), tars.symlink(b"dev/null", os.fsencode(outside / "null")),
        tars.symlink(b"dev/shm", os.fsencode(outside)), tars.header(b"dev/mem", b"3", major=1, minor=1),
        tars.symlink(b"dev/pts", os.fsencode(outside)),
    )  # fmt: skip
    seen = output(daemon, image(daemon, *entries), handler, "sh", "-c", "echo x > /dev/null; ls /dev; ls -d /dev/shm/")
    assert "/dev/shm/" in seen
    assert "mem" not in seen.split()


# -- users


@pytest.mark.parametrize("name", [b"etc/passwd", b"etc/group"])
@pytest.mark.parametrize("kind", ["fifo", "device", "directory"])
def test_an_account_file_that_is_no_file(daemon: Daemon, name: bytes, kind: str) -> None:
    entry = {
        "fifo": tars.header(name, b"6"),
        "device": tars.header(name, b"3", major=1, minor=5),
        "directory": tars.directory(name),
    }[kind]
    image_id = image(daemon, entry)
    started = time.monotonic()
    code, words = refused(daemon, image_id)
    assert time.monotonic() - started < 2, "nobody waits for a writer"
    assert code == INVALID
    assert f"{name.decode()} in the image is not a regular file" in words


@pytest.mark.parametrize("relative", [False, True])
def test_accounts_of_the_host_are_not_the_images(daemon: Daemon, outside: Path, relative: bool) -> None:
    for path in (Path("/etc/shadow"), outside / "passwd"):
        entry = tars.symlink(b"etc/passwd", ups(path) if relative else os.fsencode(path))
        code, words = refused(daemon, image(daemon, entry, config={"User": "intruder"}))
        assert code == grpc.StatusCode.NOT_FOUND
        assert "no user 'intruder'" in words
        assert output(daemon, image(daemon, entry, config={"User": "0"}), "crun", "id", "-u") == "0"


def test_a_gibibyte_of_accounts(daemon: Daemon, tmp_path: Path) -> None:
    """A sparse file costs its sender nothing. The daemon looks at its size and reads none of it."""
    (tmp_path / "etc").mkdir()
    with (tmp_path / "etc/passwd").open("wb") as file:
        file.truncate(1 << 30)
    made = subprocess.run(
        ["tar", "--sparse", "--format=gnu", "-C", tmp_path, "-c", "etc/passwd"], capture_output=True, check=True
    )
    assert len(made.stdout) < 100_000
    image_id = load(daemon, [HELLO_LAYER, made.stdout])
    before = peak_bytes(daemon)
    code, words = refused(daemon, image_id)
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "etc/passwd in the image has 1073741824 bytes" in words
    assert peak_bytes(daemon) < before + (20 << 20)


def peak_bytes(daemon: Daemon) -> int:
    assert daemon.process is not None
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.mark.parametrize(
    ("user", "code", "words"),
    [
        ("4294967296", INVALID, "user: 4294967296 is not an id"),
        ("2147483648", INVALID, "user: 2147483648 is not an id"),
        ("-1", INVALID, "user: -1 is not an id"),
        ("1000:4294967296", INVALID, "group: 4294967296 is not an id"),
        ("18446744073709551616:0", INVALID, "user: 18446744073709551616 is not an id"),
        ("giant", grpc.StatusCode.NOT_FOUND, "no user 'giant' in the image's /etc/passwd"),
        ("nobody:nobody", grpc.StatusCode.NOT_FOUND, "no group 'nobody' in the image's /etc/group"),
        ("\u0661", grpc.StatusCode.NOT_FOUND, "no user"),
    ],
)
def test_users_out_of_range(daemon: Daemon, user: str, code: grpc.StatusCode, words: str) -> None:
    passwd = tars.file(b"etc/passwd", b"giant:x:4294967296:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
    got, said = refused(daemon, image(daemon, passwd, config={"User": user}))
    assert (got, words in said) == (code, True), said


def test_a_home_directory_with_more_in_it(daemon: Daemon) -> None:
    """A line break in HOME would add a variable, or a line to somebody's file."""
    passwd = tars.file(b"etc/passwd", b"web:x:1000:1000::/home/web\rEVIL=1:/bin/sh\n")
    image_id = image(daemon, passwd, config={"User": "web"})
    assert output(daemon, image_id, "crun", "sh", "-c", "echo $HOME; env | grep -c EVIL") == "/\n0"


# -- words


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"Env": ["A=\0B"]}, "NUL"),
        ({"Entrypoint": ["/bin/echo", "a\0b"]}, "NUL"),
        ({"Entrypoint": [""]}, "empty name"),
        ({"StopSignal": "SIGFOO"}, "'SIGFOO' is not a signal"),
        ({"WorkingDir": "/a\0b"}, "can't be a working directory"),
    ],
)
def test_words_that_no_process_can_have(daemon: Daemon, config: Mapping[str, object], words: str) -> None:
    image_id = image(daemon, config=config)
    pod = daemon.run_pod(host_network=True)
    command = [] if "Entrypoint" in config else ["sleep", "1000"]
    code, said = refusal(lambda: daemon.create(pod, container_config("main", *command, image=image_id)))
    assert code == INVALID
    assert words in said


def test_variables_without_a_name_or_a_value_are_left_out(daemon: Daemon, handler: str) -> None:
    image_id = image(daemon, config={"Env": ["PATH=/bin", "NOTHING", "=x", "A=b=c"]})
    seen = output(daemon, image_id, handler, "env").splitlines()
    assert "A=b=c" in seen
    assert not [line for line in seen if line.startswith(("NOTHING", "="))]


def test_an_image_with_nothing_to_run(daemon: Daemon) -> None:
    image_id = load(daemon, [tars.archive()])
    pod = daemon.run_pod(host_network=True)
    code, words = refusal(lambda: daemon.create(pod, container_config("main", image=image_id)))
    assert code == INVALID
    assert "nothing to run" in words
