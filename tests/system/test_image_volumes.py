"""Image volumes through the socket: what a container sees, what is refused, and who keeps what alive."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from podwright.criapi import api_pb2 as pb
from tests.support import tars
from tests.support.daemon import Daemon, container_config, serving
from tests.support.images import HELLO_LAYER, find, load, refusal, remove
from tests.support.user_namespaces import mapping, pass_through
from tests.system.test_user_namespaces import run_pod as userns_pod
from tests.system.test_user_namespaces import security

pytestmark = pytest.mark.root

UNKNOWN, INVALID = grpc.StatusCode.UNKNOWN, grpc.StatusCode.INVALID_ARGUMENT
DATA = tars.archive(
    tars.directory(b"etc", mode=0o750), tars.file(b"etc/setting", b"of the image\n"), tars.directory(b"bin"),
    tars.file(b"bin/tool", b"#!/bin/sh\necho tool\n", mode=0o755), tars.symlink(b"link", b"/etc"),
    tars.symlink(b"dangling", b"/not/there"), tars.symlink(b"up", b"../" * 20 + b"etc"), tars.header(b"fifo", b"6"),
    tars.symlink(b"magic", b"/proc/self/root"),
)  # fmt: skip
UPPER = tars.archive(tars.file(b"etc/.wh.setting"), tars.file(b"etc/other", b"upper\n"))


@pytest.fixture(scope="module", params=["crun", "runc"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with serving(Daemon(tmp_path_factory.mktemp("v"), runtime=request.param)) as daemon:
        yield daemon


@pytest.fixture
def node(server: Daemon) -> Iterator[Daemon]:
    """One daemon a runtime for tests without a restart; after each of them no pod is left, and no view."""
    yield server
    server.clear_pods()
    assert views(server) == []


def data_image(daemon: Daemon, *layers: bytes) -> str:
    return load(daemon, layers or (DATA,))


def volume(image: str, path: str = "/volume", sub_path: str = "", **fields: object) -> pb.Mount:
    fields = {"readonly": True, **fields}
    return pb.Mount(
        container_path=path, image=pb.ImageSpec(image=image), image_sub_path=sub_path,
        **fields,  # type: ignore[arg-type]
    )  # fmt: skip


def views(daemon: Daemon) -> list[str]:
    """The mounts that containers share, as the kernel sees them; a view that isn't mounted is a mistake."""
    directory = daemon.run / "image-volumes"
    mounted = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    found = sorted(path for path in mounted if path.startswith(f"{directory}/"))
    assert sorted(str(path) for path in directory.iterdir()) == found
    return found


def sh(daemon: Daemon, container: str, script: str) -> tuple[int, str]:
    answer = daemon.exec(container, "sh", "-c", script)
    return answer.exit_code, answer.stdout.decode()


def test_an_image_is_seen_and_can_not_be_written(node: Daemon) -> None:
    image = data_image(node)
    pod = node.run_pod(host_network=True)
    slave = volume(image, "/sub", "etc", propagation=pb.PROPAGATION_HOST_TO_CONTAINER)
    mounts = [volume(image), slave, volume(image, "/file", "link/setting")]
    container = node.run_container(pod, "sleep", "1000", mounts=mounts)
    assert sh(node, container, "cat /volume/etc/setting /sub/setting /file; /volume/bin/tool") == (
        0, "of the image\n" * 3 + "tool\n"
    )  # fmt: skip
    for write in ("echo x > /volume/x", "echo x > /sub/setting", "echo x > /file", ": > /volume/etc/new"):
        assert sh(node, container, f"({write}) 2>/dev/null")[0] != 0, write
    assert sh(node, container, "ls -ld /sub | cut -c1-10") == (0, "drwxr-x---\n")
    assert len(views(node)) == 1
    node.stop_container(container)
    node.remove_container(container)
    assert views(node) == []


def test_layers_over_each_other(node: Daemon) -> None:
    image = data_image(node, DATA, UPPER)
    pod = node.run_pod(host_network=True)
    container = node.run_container(pod, "sleep", "1000", mounts=[volume(image)])
    assert sh(node, container, "cd /volume/etc; ls; cat other") == (0, "other\nupper\n")


def test_what_a_status_says_of_it(crun_daemon: Daemon, tmp_path: Path) -> None:
    """The kubelet keeps an image whose id it finds there, and shows the digest."""
    image = data_image(crun_daemon)
    pod = crun_daemon.run_pod(host_network=True)
    asked = [pb.Mount(container_path="/host", host_path=str(tmp_path)), volume(image[7:20], sub_path="etc")]
    container = crun_daemon.create(pod, container_config("main", "sleep", "1", mounts=asked))
    plain, shown = crun_daemon.status(container).mounts
    assert plain == asked[0]
    assert (shown.container_path, shown.host_path, shown.image_sub_path) == ("/volume", "", "etc")
    assert (shown.image.image, shown.image.image_ref) == (image, image)
    crun_daemon.restart()
    assert list(crun_daemon.status(container).mounts) == [plain, shown]


@pytest.mark.parametrize(
    ("sub_path", "words"),
    [
        ("not-there", "No such file"),
        ("etc/setting/x", "Not a directory"),
        ("dangling", "No such file"),
        ("magic/etc", "No such file"),
        ("fifo", "neither a directory nor a file"),
    ],
)
def test_sub_paths_that_are_not_in_the_image(node: Daemon, sub_path: str, words: str) -> None:
    image = data_image(node)
    pod = node.run_pod(host_network=True)
    config = container_config("main", "sleep", "1", mounts=[volume(image, sub_path=sub_path)])
    code, said = refusal(lambda: node.create(pod, config))
    assert code == UNKNOWN
    assert said.startswith("ImageVolumeMountFailed: mounts[0]: ")
    assert sub_path in said
    assert words in said
    assert (node.containers(), views(node)) == ([], [])


def test_links_lead_nowhere_but_inside_the_image(node: Daemon) -> None:
    image = data_image(node)
    pod = node.run_pod(host_network=True)
    container = node.run_container(pod, "sleep", "1000", mounts=[volume(image, sub_path="up")])
    assert sh(node, container, "ls /volume") == (0, "setting\n")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"readonly": False}, "must be readonly"),
        ({"host_path": "/tmp"}, "can't have a host_path"),
        ({"sub_path": "../etc"}, "without .."),
        ({"sub_path": "/etc"}, "must be a path below"),
        ({"propagation": pb.PROPAGATION_BIDIRECTIONAL}, "can't have bidirectional propagation"),
        ({"recursive_read_only": True, "propagation": pb.PROPAGATION_HOST_TO_CONTAINER}, "needs private"),
    ],
)
def test_requests_that_can_not_be(node: Daemon, fields: dict[str, object], words: str) -> None:
    image = data_image(node)
    pod = node.run_pod(host_network=True)
    mount = volume(image, **fields)  # type: ignore[arg-type]
    code, said = refusal(lambda: node.create(pod, container_config("main", "sleep", "1", mounts=[mount])))
    assert (code, words in said) == (INVALID, True), said
    assert "mounts[0]" in said
    assert (node.containers(), views(node)) == ([], [])


def test_an_image_that_is_not_here(node: Daemon) -> None:
    pod = node.run_pod(host_network=True)
    config = container_config("main", "sleep", "1", mounts=[volume("nowhere.example/x:1")])
    code, said = refusal(lambda: node.create(pod, config))
    assert code == UNKNOWN
    assert said.startswith("ImageVolumeMountFailed: mounts[0]: image 'nowhere.example/x:1' is not here")
    image = data_image(node)
    config.mounts[0].image.image = image
    assert node.create(pod, config), "a failure leaves the name free"


def test_a_view_is_shared_and_goes_with_its_last_container(node: Daemon) -> None:
    image = data_image(node)
    pod, other = node.run_pod(host_network=True), node.run_pod("other", host_network=True)
    first = node.run_container(pod, "sleep", "1000", mounts=[volume(image)])
    second = node.run_container(other, "sleep", "1000", mounts=[volume(image, "/elsewhere", "bin")])
    assert len(views(node)) == 1
    node.remove_container(first)
    assert len(views(node)) == 1
    assert sh(node, second, "ls /elsewhere") == (0, "tool\n")
    node.remove_pod(other)
    assert views(node) == []


def test_many_at_the_same_time(node: Daemon) -> None:
    """Each round the last ones to go meet the first ones to come."""
    image = data_image(node)
    pod = node.run_pod(host_network=True)

    def live(number: int) -> str:
        container = node.run_container(pod, "sleep", "1000", name=f"c{number}", mounts=[volume(image, sub_path="etc")])
        seen = sh(node, container, "cat /volume/setting")[1]
        node.remove_container(container)
        return seen

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(live, range(12))) == {"of the image\n"}
    assert views(node) == []


def test_an_image_is_removed_while_it_is_mounted(daemon: Daemon) -> None:
    """As with a container's own image: the names go, the layers stay until the last container has gone."""
    image = data_image(daemon)
    pod = daemon.run_pod(host_network=True)
    container = daemon.run_container(pod, "sleep", "1000", mounts=[volume(image)])
    remove(daemon, image)
    assert find(daemon, image) is None
    assert sh(daemon, container, "cat /volume/etc/setting") == (0, "of the image\n")
    again = container_config("again", "sleep", "1", mounts=[volume(image)])
    code, said = refusal(lambda: daemon.create(pod, again))
    assert (code, said.startswith("ImageVolumeMountFailed")) == (UNKNOWN, True)
    assert data_image(daemon) == image, "it is brought in again"
    second = daemon.run_container(pod, "sleep", "1000", name="second", mounts=[volume(image)])
    remove(daemon, image)
    daemon.remove_container(container)
    assert sh(daemon, second, "cat /volume/etc/setting") == (0, "of the image\n")
    daemon.remove_pod(pod)
    remove(daemon, "localhost/podwright/hello:latest")
    daemon.wait_until_nothing_is_stored()


def test_a_restart_leaves_it_alone(daemon: Daemon) -> None:
    image = data_image(daemon)
    pod = daemon.run_pod(host_network=True)
    container = daemon.run_container(pod, "sleep", "1000", mounts=[volume(image)])
    created = daemon.create(pod, container_config("created", "sleep", "1000", mounts=[volume(image)]))
    before = views(daemon)
    for kill in (daemon.stop, daemon.kill):
        kill()
        daemon.start()
        assert views(daemon) == before
        assert sh(daemon, container, "cat /volume/etc/setting") == (0, "of the image\n")
    daemon.start_container(created)
    daemon.remove_container(container)
    assert sh(daemon, created, "cat /volume/etc/setting") == (0, "of the image\n")
    third = daemon.run_container(pod, "sleep", "1000", name="third", mounts=[volume(image)])
    daemon.remove_container(created)
    assert sh(daemon, third, "cat /volume/etc/setting") == (0, "of the image\n")
    daemon.remove_container(third)
    assert views(daemon) == []


def test_what_nobody_uses_goes_at_the_next_start(crun_daemon: Daemon) -> None:
    """A view without a record: of a crash between the two, or of a record that was set aside."""
    image = data_image(crun_daemon)
    pod = crun_daemon.run_pod(host_network=True)
    container = crun_daemon.create(pod, container_config("main", "sleep", "1", mounts=[volume(image)]))
    orphan = crun_daemon.run / "image-volumes" / ("sha256-" + "0" * 64)
    orphan.mkdir()
    crun_daemon.restart()
    assert not orphan.exists()
    assert len(views(crun_daemon)) == 1
    crun_daemon.remove_container(container)
    assert os.listdir(orphan.parent) == []


def test_a_creation_that_fails_later_leaves_no_view(node: Daemon) -> None:
    image = data_image(node)
    pod = node.run_pod(host_network=True)
    refusal(lambda: node.create(pod, container_config("main", "/not/there", mounts=[volume(image)])))
    refusal(lambda: node.create(pod, container_config("dir", "sleep", mounts=[volume(image, "/bin/sh")])))
    assert (node.containers(), views(node)) == ([], [])


def test_a_container_of_the_image_that_it_mounts(node: Daemon) -> None:
    image = load(node, [HELLO_LAYER, DATA])
    pod = node.run_pod(host_network=True)
    container = node.run_container(pod, "sleep", "1000", image=image, mounts=[volume(image)])
    assert sh(node, container, "echo mine > /etc/setting; cat /etc/setting /volume/etc/setting") == (
        0, "mine\nof the image\n"
    )  # fmt: skip


@pytest.fixture(params=["crun", "runc"])
def open_daemon(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """In a directory that user namespaces can pass through."""
    directory = tmp_path_factory.mktemp("d")
    pass_through(directory)
    with serving(Daemon(directory, runtime=request.param)) as server:
        yield server


def test_in_a_user_namespace_the_files_are_its_roots(open_daemon: Daemon) -> None:
    """Beside a container without one, which sees the same image with its own owners."""
    image = data_image(open_daemon)
    mapped = volume(image, sub_path="etc", uidMappings=mapping(), gidMappings=mapping())
    pod = userns_pod(open_daemon, "mapped")
    config = container_config("main", "sleep", "1000", mounts=[mapped, volume(image, "/all")], security=security())
    container = open_daemon.create(pod, config)
    plain = open_daemon.run_pod("plain", host_network=True)
    other = open_daemon.run_container(plain, "sleep", "1000", mounts=[volume(image)])
    open_daemon.start_container(container)
    assert sh(open_daemon, container, "stat -c %u:%g /volume/setting /all/bin; cat /volume/setting") == (
        0, "0:0\n0:0\nof the image\n"
    )  # fmt: skip
    assert sh(open_daemon, container, "touch /volume/x 2>/dev/null")[0] != 0
    assert sh(open_daemon, other, "stat -c %u /volume/etc/setting") == (0, "0\n")
    open_daemon.restart()
    open_daemon.remove_container(other)
    assert sh(open_daemon, container, "cat /volume/setting") == (0, "of the image\n")
    open_daemon.remove_pod(pod)
    assert views(open_daemon) == []
    remove(open_daemon, image)
    remove(open_daemon, "localhost/podwright/hello:latest")
    open_daemon.wait_until_nothing_is_stored()
