"""Image volumes on a Docker Engine, whose API has none: what a container sees, and who keeps what."""

from __future__ import annotations

from functools import partial

import grpc
import pytest

from podwright.criapi import api_pb2 as pb
from podwright.linux.mounts import is_mount_point
from tests.support import tars
from tests.support.daemon import container_config
from tests.support.docker_daemon import DockerDaemon
from tests.support.images import find, load, refusal, remove

DATA = tars.archive(
    tars.directory(b"etc", mode=0o750), tars.file(b"etc/setting", b"of the image\n"), tars.symlink(b"link", b"/etc"),
)  # fmt: skip
UPPER = tars.archive(tars.file(b"etc/.wh.setting"), tars.file(b"etc/other", b"upper\n"))
PREFIX = "ImageVolumeMountFailed"


def volume(image: str, path: str = "/volume", sub_path: str = "", *, readonly: bool = True) -> pb.Mount:
    return pb.Mount(
        container_path=path, image=pb.ImageSpec(image=image), image_sub_path=sub_path, readonly=readonly
    )  # fmt: skip


def views(daemon: DockerDaemon) -> list[str]:
    views = daemon.run / "image-volumes"
    assert all(is_mount_point(view) for view in views.iterdir())
    return sorted(view.name for view in views.iterdir())


@pytest.mark.parametrize(
    ("layers", "seen"), [((DATA,), "setting"), ((DATA, UPPER), "other")], ids=["one layer", "several"]
)
def test_what_a_container_sees(daemon: DockerDaemon, layers: tuple[bytes, ...], seen: str) -> None:
    image = load(daemon, layers)
    pod = daemon.run_pod(host_network=True)
    mounts = [volume(image), volume(image, "/part", "link")]
    container = daemon.run_container(pod, "sleep", "60", mounts=mounts)
    assert daemon.exec(container, "ls", "/volume/etc").stdout == f"{seen}\n".encode()
    assert daemon.exec(container, "ls", "/part").stdout == f"{seen}\n".encode()
    refused = daemon.exec(container, "sh", "-c", "echo > /volume/new")
    assert refused.exit_code != 0
    assert b"Read-only" in refused.stderr
    for mount in daemon.status(container).mounts:
        assert mount.image.image == mount.image.image_ref == image
    assert views(daemon) == [image.replace(":", "-")]


def test_the_last_one_takes_it_down(own_daemon: DockerDaemon) -> None:
    daemon = own_daemon
    image = load(daemon, (DATA,))
    pod = daemon.run_pod(host_network=True)
    first, second = (daemon.create(pod, container_config(name, "sleep", "9", mounts=[volume(image)])) for name in "ab")
    code, words = refusal(lambda: remove(daemon, image))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "is mounted by container" in words
    daemon.kill()
    daemon.start()
    assert views(daemon) == [image.replace(":", "-")]
    daemon.start_container(first)
    daemon.runtime.RemoveContainer(pb.RemoveContainerRequest(container_id=first))
    assert len(views(daemon)) == 1
    daemon.runtime.RemoveContainer(pb.RemoveContainerRequest(container_id=second))
    assert views(daemon) == []
    remove(daemon, image)
    assert find(daemon, image) is None


def test_what_is_refused(daemon: DockerDaemon) -> None:
    image = load(daemon, (DATA,))
    pod = daemon.run_pod(host_network=True)
    for mount, code, words in (
        (
            volume(image, readonly=False),
            grpc.StatusCode.INVALID_ARGUMENT,
            "mounts[0]: an image volume must be readonly",
        ),
        (volume(image, sub_path="../etc"), grpc.StatusCode.INVALID_ARGUMENT, "without .."),
        (volume("nobody:1"), grpc.StatusCode.UNKNOWN, f"{PREFIX}: mounts[0]: image 'nobody:1' is not here"),
        (volume(image, sub_path="not/there"), grpc.StatusCode.UNKNOWN, f"{PREFIX}: mounts[0]: image_sub_path"),
    ):
        config = container_config("bad", "sleep", "9", mounts=[mount])
        found, said = refusal(partial(daemon.create, pod, config))
        assert found == code
        assert words in said
        assert views(daemon) == []
