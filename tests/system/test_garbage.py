"""What the kubelet takes away, in its order: dead containers of a pod that lives, pods that are over, unused images.

kuberuntime_gc.go and image_gc_manager.go of Kubernetes: an image is in use as long as any container names its id.
"""

from __future__ import annotations

import pytest

from podwright.criapi import api_pb2 as pb
from tests.support.daemon import HELLO, Daemon, container_config

pytestmark = pytest.mark.root


def images_in_use(daemon: Daemon) -> set[str]:
    return {container.image_id for container in daemon.containers()}


def images(daemon: Daemon) -> set[str]:
    return {image.id for image in daemon.images.ListImages(pb.ListImagesRequest()).images}


def used_bytes(daemon: Daemon) -> int:
    (found,) = daemon.images.ImageFsInfo(pb.ImageFsInfoRequest()).image_filesystems
    return int(found.used_bytes.value)


def test_dead_containers_go_while_their_pod_lives(daemon: Daemon) -> None:
    pod = daemon.run_pod(host_network=True)
    dead = [daemon.run_container(pod, "sh", "-c", f"exit {n}", attempt=n) for n in range(3)]
    for container in dead:
        daemon.wait_exit(container)
    lives = daemon.run_container(pod, "sleep", "1000", attempt=3)
    never_started = daemon.create(pod, container_config("late", "sleep", "1"))
    oldest_first = sorted(daemon.containers(), key=lambda container: container.created_at)
    assert [container.id for container in oldest_first] == [*dead, lives, never_started]
    for container in (*dead[:2], never_started):
        daemon.remove_container(container)
        daemon.remove_container(container)  # asked again, as after a deadline
    assert {container.id for container in daemon.containers()} == {dead[2], lives}
    assert daemon.status(dead[2]).exit_code == 2
    assert daemon.status(lives).state == pb.CONTAINER_RUNNING


def test_a_pod_that_is_over_goes_with_what_is_in_it(daemon: Daemon) -> None:
    """Stop, then Remove, each perhaps twice. Until then everything is told, and holds its image."""
    pod = daemon.run_pod("over")
    ended = daemon.run_container(pod, "sh", name="ended")
    daemon.wait_exit(ended)
    running = daemon.run_container(pod, "sleep", "1000", name="running")
    created = daemon.create(pod, container_config("created", "sleep", "1"))
    for _ in range(2):
        daemon.stop_pod(pod)
    assert daemon.pod_status(pod).state == pb.SANDBOX_NOTREADY
    told = {container.id: container.state for container in daemon.containers()}
    assert told.keys() == {ended, running, created}
    assert told[running] == pb.CONTAINER_EXITED
    assert images_in_use(daemon) == images(daemon)
    for _ in range(2):
        daemon.remove_pod(pod)
    assert daemon.pods() == []
    assert daemon.containers() == []
    assert daemon.leftovers() == []


def test_an_image_goes_when_nobody_uses_it(crun_daemon: Daemon) -> None:
    """By its id, with all names; again is success; the disk has room again."""
    pod = crun_daemon.run_pod(host_network=True)
    container = crun_daemon.run_container(pod, "sh")
    crun_daemon.wait_exit(container)
    (image,) = images(crun_daemon)
    assert images_in_use(crun_daemon) == {image}
    before = used_bytes(crun_daemon)
    crun_daemon.stop_pod(pod)
    crun_daemon.remove_pod(pod)
    assert images(crun_daemon) - images_in_use(crun_daemon) == {image}
    for _ in range(2):
        crun_daemon.images.RemoveImage(pb.RemoveImageRequest(image=pb.ImageSpec(image=image)))
        assert images(crun_daemon) == set()
    crun_daemon.wait_until(lambda: used_bytes(crun_daemon) < before)
    crun_daemon.wait_until_nothing_is_stored()
    status = crun_daemon.images.ImageStatus(pb.ImageStatusRequest(image=pb.ImageSpec(image=HELLO)))
    assert not status.HasField("image")
