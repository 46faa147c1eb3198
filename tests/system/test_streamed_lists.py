"""StreamPodSandboxes, StreamContainers, StreamImages: what the lists give, in pieces, and then the end."""

from __future__ import annotations

from podwright.criapi import api_pb2 as pb
from tests.support.daemon import HELLO, Daemon, container_config


def test_pods_and_containers(crun_daemon: Daemon) -> None:
    web, other = crun_daemon.run_pod("web", labels={"app": "web"}), crun_daemon.run_pod("other")
    main = crun_daemon.run_container(web, "/bin/sleep", "60", labels={"tier": "front"})
    created = crun_daemon.create(other, container_config("made", "/bin/sleep", "60"))

    def pods(wanted: pb.PodSandboxFilter | None = None) -> list[str]:
        request = pb.StreamPodSandboxesRequest(filter=wanted)
        return [p.id for answer in crun_daemon.runtime.StreamPodSandboxes(request) for p in answer.pod_sandboxes]

    def containers(wanted: pb.ContainerFilter | None = None) -> list[str]:
        request = pb.StreamContainersRequest(filter=wanted)
        return [c.id for answer in crun_daemon.runtime.StreamContainers(request) for c in answer.containers]

    assert sorted(pods()) == sorted([web, other])
    assert pods(pb.PodSandboxFilter(id=web[:12])) == [web]
    assert pods(pb.PodSandboxFilter(label_selector={"app": "web"})) == [web]
    assert sorted(containers()) == sorted([main, created])
    assert containers(pb.ContainerFilter(pod_sandbox_id=web)) == [main]
    assert containers(pb.ContainerFilter(state=pb.ContainerStateValue(state=pb.CONTAINER_RUNNING))) == [main]
    listed = crun_daemon.runtime.ListContainers(pb.ListContainersRequest()).containers
    (streamed,) = crun_daemon.runtime.StreamContainers(pb.StreamContainersRequest())
    assert list(streamed.containers) == list(listed)


def test_nothing_is_the_end_at_once(crun_daemon: Daemon) -> None:
    assert list(crun_daemon.runtime.StreamPodSandboxes(pb.StreamPodSandboxesRequest())) == []
    assert list(crun_daemon.runtime.StreamContainers(pb.StreamContainersRequest())) == []
    absent = pb.ImageFilter(image=pb.ImageSpec(image="localhost/no/such:image"))
    assert list(crun_daemon.images.StreamImages(pb.StreamImagesRequest(filter=absent))) == []


def test_images(crun_daemon: Daemon) -> None:
    (answer,) = crun_daemon.images.StreamImages(pb.StreamImagesRequest())
    listed = crun_daemon.images.ListImages(pb.ListImagesRequest()).images
    assert sorted(answer.images, key=lambda image: image.id) == sorted(listed, key=lambda image: image.id)
    (named,) = crun_daemon.images.StreamImages(
        pb.StreamImagesRequest(filter=pb.ImageFilter(image=pb.ImageSpec(image=HELLO)))
    )
    assert named.images[0].repo_tags == [HELLO]
