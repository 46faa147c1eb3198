"""A Docker Engine on cgroup v2 with systemd's driver: pods in the kubelet's slices, limits, statistics, ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from podwright.criapi import api_pb2 as pb
from tests.machine.test_systemd import kubelets_parent, run_pod
from tests.support.docker_daemon import DockerDaemon, serving_docker
from tests.support.dockerd import running_dockerd
from tests.support.limits import TOP
from tests.system.test_resources import MB

pytestmark = pytest.mark.root


@pytest.fixture
def docker_daemon(tmp_path: Path) -> Iterator[DockerDaemon]:
    (tmp_path / "p").mkdir()
    with running_dockerd(tmp_path / "d", cgroup_driver="systemd") as docker:
        daemon = DockerDaemon(tmp_path / "p", docker, cgroup_driver="auto", cni=False)
        with serving_docker(daemon):
            yield daemon


def test_a_pod_by_systemds_driver(docker_daemon: DockerDaemon) -> None:
    daemon = docker_daemon
    assert daemon.runtime.RuntimeConfig(pb.RuntimeConfigRequest()).linux.cgroup_driver == pb.SYSTEMD
    parent = kubelets_parent()
    resources = pb.LinuxContainerResources(memory_limit_in_bytes=64 * MB, cpu_quota=50000, cpu_period=100000)
    container = daemon.run_container(run_pod(daemon, parent), "sleep", "1000", resources=resources)
    scope = f"docker-{daemon.in_engine(container)['Id']}.scope"
    where = TOP / "kubepods.slice/kubepods-burstable.slice" / parent / scope
    assert (where / "memory.max").read_text() == f"{64 * MB}\n"
    assert (where / "cpu.max").read_text() == "50000 100000\n"
    change = pb.LinuxContainerResources(memory_limit_in_bytes=96 * MB)
    daemon.runtime.UpdateContainerResources(pb.UpdateContainerResourcesRequest(container_id=container, linux=change))
    assert (where / "memory.max").read_text() == f"{96 * MB}\n"
    assert daemon.exec(container, "sh", "-c", "exit 4", timeout=60).exit_code == 4
    stats = daemon.runtime.ContainerStats(pb.ContainerStatsRequest(container_id=container)).stats
    assert stats.memory.usage_bytes.value > 0
    assert stats.cpu.usage_core_nano_seconds.value > 0
    daemon.stop_container(container)
    assert daemon.status(container).exit_code == 137
    assert not where.exists()
