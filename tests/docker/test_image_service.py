"""The image service and statistics of a daemon on a Docker Engine: what the kubelet sees, and what Docker is not asked.

The faults are cri-dockerd's, by its issue tracker; each has a test here or in the neighbouring files that shows ours
does not have it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from podwright.criapi import api_pb2 as pb
from tests.support import names
from tests.support.docker_daemon import DockerDaemon, serving_docker
from tests.support.dockerd import Dockerd
from tests.support.events import wait
from tests.support.images import HELLO_LAYER, find, listed, marker, pull, refusal, remove
from tests.support.recorded_socket import Recorded, recorded
from tests.support.registry import Registry, push_image

# What makes dockerd walk disks or sample for a second: none of it may be asked for while the kubelet polls.
DEAR = ("/system/df", "/stats", "size=1", "size=true")


@pytest.fixture
def watched(dockerd: Dockerd, tmp_path: Path) -> Iterator[tuple[DockerDaemon, Recorded]]:
    """A daemon whose requests to the engine are written down."""
    with recorded(tmp_path / "d.sock", dockerd.socket) as record:
        daemon = DockerDaemon(tmp_path, dockerd)
        daemon.config.write_text(daemon.config.read_text().replace(str(dockerd.socket), str(record.path)))
        with serving_docker(daemon):
            yield daemon, record


def test_one_identity_everywhere(daemon: DockerDaemon, registry: Registry) -> None:
    pushed = push_image(registry, names.unique("app"), "v1", [HELLO_LAYER, marker("identity")])
    name = registry.reference(pushed.repository, "v1")
    image_id = pull(daemon, name)
    found = find(daemon, name)
    assert found is not None
    assert found.id == image_id == pushed.config_digest
    pod = daemon.run_pod(host_network=True)
    container = daemon.run_container(pod, "sleep", "60", image=image_id)
    status = daemon.status(container)
    assert status.image_id == image_id
    assert status.image_ref == f"{registry.address}/{pushed.repository}@{pushed.digest}"
    code, words = refusal(lambda: remove(daemon, name))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "running container" in words
    found = find(daemon, name)
    assert found is not None
    assert found.repo_tags == [name]


def test_what_is_not_here(daemon: DockerDaemon) -> None:
    assert find(daemon, "nobody:1") is None, "OK without an image, not NotFound"
    remove(daemon, "nobody:1")
    request = pb.ListImagesRequest(filter=pb.ImageFilter(image=pb.ImageSpec(image="nobody:1")))
    assert list(daemon.images.ListImages(request).images) == []


def test_the_image_of_pods_is_pinned(daemon: DockerDaemon) -> None:
    """Or the kubelet would collect it, between two pods."""
    daemon.run_pod(host_network=True)
    pinned = [image for image in listed(daemon) if image.pinned]
    assert [tag.partition(":")[0] for image in pinned for tag in image.repo_tags] == ["podwright.local/pause"]
    assert not any(image.id == found.id for image in pinned if (found := find(daemon, "localhost/podwright/hello")))


def test_both_file_systems_are_told(daemon: DockerDaemon) -> None:
    """cri-dockerd leaves container_filesystems out (its issue 408), and the kubelet's image collection fails."""
    answer = daemon.images.ImageFsInfo(pb.ImageFsInfoRequest())
    for (filesystem,) in (answer.image_filesystems, answer.container_filesystems):
        assert filesystem.fs_id.mountpoint == str(daemon.docker.data_root)
        assert filesystem.used_bytes.value > 1_000_000
        assert filesystem.timestamp > 0


def test_polling_asks_docker_for_nothing_dear(watched: tuple[DockerDaemon, Recorded]) -> None:
    """cri-dockerd's `docker stats` and du of writable layers dominated nodes (its issue 135)."""
    daemon, record = watched
    pod = daemon.run_pod(host_network=True)
    container = daemon.run_container(pod, "sh", "-c", "dd if=/dev/zero of=/big bs=1024 count=500 2>/dev/null; sleep 60")

    def written() -> int:
        request = pb.ContainerStatsRequest(container_id=container)
        return int(daemon.runtime.ContainerStats(request).stats.writable_layer.used_bytes.value)

    wait(lambda: written() >= 500 * 1024, "the count of the writable layer")
    daemon.images.ImageFsInfo(pb.ImageFsInfoRequest())  # asks once for what can't change, each image's layers
    record.requests.clear()
    started = time.monotonic()
    for _ in range(10):
        daemon.images.ImageFsInfo(pb.ImageFsInfoRequest())
        (stats,) = daemon.runtime.ListContainerStats(pb.ListContainerStatsRequest()).stats
        assert stats.memory.working_set_bytes.value > 0
        assert stats.cpu.usage_core_nano_seconds.value > 0
        (pods,) = daemon.runtime.ListPodSandboxStats(pb.ListPodSandboxStatsRequest()).stats
        assert pods.linux.process.process_count.value >= 2
        assert len(daemon.runtime.ListPodSandboxMetrics(pb.ListPodSandboxMetricsRequest()).pod_metrics) == 1
        daemon.images.ListImages(pb.ListImagesRequest())
    assert time.monotonic() - started < 10, "Docker's own statistics take a second a container"
    asked = [line for line in record.requests if any(word in line for word in DEAR)]
    assert asked == []
    paths = {line.split()[1].partition("?")[0].split("/", 2)[2] for line in record.requests}
    assert paths == {"images/json"}, "images alone, which others change as well; all else is known"


def test_events_come_from_facts_not_from_polling(watched: tuple[DockerDaemon, Recorded]) -> None:
    daemon, _ = watched
    stream = daemon.runtime.GetContainerEvents(pb.GetEventsRequest())
    pod = daemon.run_pod(host_network=True)
    container = daemon.run_container(pod, "sh", "-c", "exit 0")
    seen = []
    for event in stream:
        assert event.HasField("pod_sandbox_status")
        seen.append((event.container_id, event.container_event_type))
        if seen[-1] == (container, pb.CONTAINER_STOPPED_EVENT):
            break
    stream.cancel()
    of_container = [kind for each, kind in seen if each == container]
    assert of_container == [pb.CONTAINER_CREATED_EVENT, pb.CONTAINER_STARTED_EVENT, pb.CONTAINER_STOPPED_EVENT]
    assert (pod, pb.CONTAINER_STARTED_EVENT) in seen
