"""Image volumes through the socket: what a container sees, what is refused, and who keeps what alive."""

from __future__ import annotations

import os
from pathlib import Path

import grpc
import pytest

from podwright.criapi import api_pb2 as pb
from tests.support import tars
from tests.support.daemon import Daemon, container_config
from tests.support.images import HELLO_LAYER, find, load, refusal, remove

pytestmark = pytest.mark.root

UNKNOWN, INVALID = grpc.StatusCode.UNKNOWN, grpc.StatusCode.INVALID_ARGUMENT
DATA = tars.archive(
    tars.directory(b"etc", mode=0o750), tars.file(b"etc/setting", b"of the image\n"), tars.directory(b"bin"),
    tars.file(b"bin/tool", b"#!/bin/sh\necho tool\n", mode=0o755), tars.symlink(b"link", b"/etc"),
    tars.symlink(b"dangling", b"/not/there"), tars.symlink(b"up", b"../" * 20 + b"etc"), tars.header(b"fifo", b"6"),
    tars.symlink(b"magic", b"/proc/self/root"),
)  # fmt: skip
UPPER = tars.archive(tars.file(b"etc/.wh.setting"), tars.file(b"etc/other", b"upper\n"))


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


def test_an_image_is_seen_and_can_not_be_written(daemon: Daemon) -> None:
    image = data_image(daemon)
    pod = daemon.run_pod(host_network=True)
    slave = volume(image, "/sub", "etc", propagation=pb.PROPAGATION_HOST_TO_CONTAINER)
    mounts = [volume(image), slave, volume(image, "/file", "link/setting")]
    container = daemon.run_container(pod, "sleep", "1000", mounts=mounts)
    assert sh(daemon, container, "cat /volume/etc/setting /sub/setting /file; /volume/bin/tool") == (
        0, "of the image\n" * 3 + "tool\n"
    )  # fmt: skip
    for write in ("echo x > /volume/x", "echo x > /sub/setting", "echo x > /file", ": > /volume/etc/new"):
        assert sh(daemon, container, f"({write}) 2>/dev/null")[0] != 0, write
    assert sh(daemon, container, "ls -ld /sub | cut -c1-10") == (0, "drwxr-x---\n")
    assert len(views(daemon)) == 1
    daemon.stop_container(container)
    daemon.remove_container(container)
    assert views(daemon) == []


def test_layers_over_each_other(crun_daemon: Daemon) -> None:
    image = data_image(crun_daemon, DATA, UPPER)
    pod = crun_daemon.run_pod(host_network=True)
    container = crun_daemon.run_container(pod, "sleep", "1000", mounts=[volume(image)])
    assert sh(crun_daemon, container, "cd /volume/etc; ls; cat other") == (0, "other\nupper\n")


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
def test_sub_paths_that_are_not_in_the_image(crun_daemon: Daemon, sub_path: str, words: str) -> None:
    image = data_image(crun_daemon)
    pod = crun_daemon.run_pod(host_network=True)
    config = container_config("main", "sleep", "1", mounts=[volume(image, sub_path=sub_path)])
    code, said = refusal(lambda: crun_daemon.create(pod, config))
    assert code == UNKNOWN
    assert said.startswith("ImageVolumeMountFailed: mounts[0]: ")
    assert sub_path in said
    assert words in said
    assert (crun_daemon.containers(), views(crun_daemon)) == ([], [])


def test_links_lead_nowhere_but_inside_the_image(daemon: Daemon) -> None:
    image = data_image(daemon)
    pod = daemon.run_pod(host_network=True)
    container = daemon.run_container(pod, "sleep", "1000", mounts=[volume(image, sub_path="up")])
    assert sh(daemon, container, "ls /volume") == (0, "setting\n")


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
def test_requests_that_can_not_be(crun_daemon: Daemon, fields: dict[str, object], words: str) -> None:
    image = data_image(crun_daemon)
    pod = crun_daemon.run_pod(host_network=True)
    mount = volume(image, **fields)  # type: ignore[arg-type]
    code, said = refusal(lambda: crun_daemon.create(pod, container_config("main", "sleep", "1", mounts=[mount])))
    assert (code, words in said) == (INVALID, True), said
    assert "mounts[0]" in said
    assert (crun_daemon.containers(), views(crun_daemon)) == ([], [])


def test_an_image_that_is_not_here(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod(host_network=True)
    config = container_config("main", "sleep", "1", mounts=[volume("nowhere.example/x:1")])
    code, said = refusal(lambda: crun_daemon.create(pod, config))
    assert code == UNKNOWN
    assert said.startswith("ImageVolumeMountFailed: mounts[0]: image 'nowhere.example/x:1' is not here")
    image = data_image(crun_daemon)
    config.mounts[0].image.image = image
    assert crun_daemon.create(pod, config), "a failure leaves the name free"


def test_a_view_is_shared_and_goes_with_its_last_container(crun_daemon: Daemon) -> None:
    image = data_image(crun_daemon)
    pod, other = crun_daemon.run_pod(host_network=True), crun_daemon.run_pod("other", host_network=True)
    first = crun_daemon.run_container(pod, "sleep", "1000", mounts=[volume(image)])
    second = crun_daemon.run_container(other, "sleep", "1000", mounts=[volume(image, "/elsewhere", "bin")])
    assert len(views(crun_daemon)) == 1
    crun_daemon.remove_container(first)
    assert len(views(crun_daemon)) == 1
    assert sh(crun_daemon, second, "ls /elsewhere") == (0, "tool\n")
    crun_daemon.remove_pod(other)
    assert views(crun_daemon) == []


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


def test_a_creation_that_fails_later_leaves_no_view(daemon: Daemon) -> None:
    image = data_image(daemon)
    pod = daemon.run_pod(host_network=True)
    refusal(lambda: daemon.create(pod, container_config("main", "/not/there", mounts=[volume(image)])))
    refusal(lambda: daemon.create(pod, container_config("dir", "sleep", mounts=[volume(image, "/bin/sh")])))
    assert (daemon.containers(), views(daemon)) == ([], [])


def test_a_container_of_the_image_that_it_mounts(crun_daemon: Daemon) -> None:
    image = load(crun_daemon, [HELLO_LAYER, DATA])
    pod = crun_daemon.run_pod(host_network=True)
    container = crun_daemon.run_container(pod, "sleep", "1000", image=image, mounts=[volume(image)])
    assert sh(crun_daemon, container, "echo mine > /etc/setting; cat /etc/setting /volume/etc/setting") == (
        0, "mine\nof the image\n"
    )  # fmt: skip
