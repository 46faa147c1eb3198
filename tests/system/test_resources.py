"""Limits of containers: at creation, changed later, all or none of them, and what a status says of them."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest

from podwright.criapi import api_pb2 as pb
from tests.support.daemon import Daemon, container_config
from tests.support.limits import TOP, Limits, limits_of

pytestmark = pytest.mark.root

MB = 1 << 20
UNIFIED = (TOP / "cgroup.controllers").exists()


def update(daemon: Daemon, container: str, annotations: dict[str, str] | None = None, **fields: Any) -> None:
    daemon.runtime.UpdateContainerResources(
        pb.UpdateContainerResourcesRequest(
            container_id=container, linux=pb.LinuxContainerResources(**fields), annotations=annotations
        )
    )


def refused(daemon: Daemon, container: str, **fields: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as error:
        update(daemon, container, **fields)
    return error.value.code(), str(error.value.details())


def info(daemon: Daemon, container: str) -> dict[str, Any]:
    request = pb.ContainerStatusRequest(container_id=container, verbose=True)
    return dict(json.loads(daemon.runtime.ContainerStatus(request).info["info"]))


def limits(daemon: Daemon, container: str) -> Limits:
    return limits_of(info(daemon, container)["pid"])


def shown(daemon: Daemon, container: str) -> pb.LinuxContainerResources:
    resources = daemon.status(container).resources.linux
    assert isinstance(resources, pb.LinuxContainerResources)
    return resources


def weight(shares: int) -> int:
    return 1 + (shares - 2) * 9999 // 262142 if UNIFIED else shares


GIVEN = {
    "memory_limit_in_bytes": 64 * MB, "memory_swap_limit_in_bytes": 64 * MB, "cpu_shares": 512, "cpu_quota": 50000,
    "cpu_period": 100000, "oom_score_adj": 500,
}  # fmt: skip


def test_limits_are_changed_one_by_one(daemon: Daemon) -> None:
    """Of a created container and of a running one; what is not named stays."""
    pod = daemon.run_pod(host_network=True)
    first = pb.LinuxContainerResources(**GIVEN)  # type: ignore[arg-type]
    container = daemon.create(pod, container_config("main", "sleep", "1000", resources=first))
    assert shown(daemon, container) == first
    cpus = limits(daemon, container).cpus
    assert limits(daemon, container) == Limits(64 * MB, 64 * MB, weight(512), 50000, 100000, cpus)

    update(daemon, container, memory_limit_in_bytes=96 * MB)
    assert limits(daemon, container) == Limits(96 * MB, 96 * MB, weight(512), 50000, 100000, cpus), "still no swap"
    daemon.start_container(container)
    update(daemon, container, memory_limit_in_bytes=32 * MB, memory_swap_limit_in_bytes=48 * MB)
    assert limits(daemon, container) == Limits(32 * MB, 48 * MB, weight(512), 50000, 100000, cpus)
    update(daemon, container, memory_swap_limit_in_bytes=80 * MB)
    update(daemon, container, cpu_quota=-1, cpu_shares=1024)
    assert limits(daemon, container) == Limits(32 * MB, 80 * MB, weight(1024), None, 100000, cpus)
    update(daemon, container, cpuset_cpus="0")
    update(daemon, container, cpu_period=50000)
    update(daemon, container, cpu_quota=20000)
    last = Limits(32 * MB, 80 * MB, weight(1024), 20000, 50000, "0")
    assert limits(daemon, container) == last

    expected = pb.LinuxContainerResources(
        memory_limit_in_bytes=32 * MB, memory_swap_limit_in_bytes=80 * MB, cpu_shares=1024, cpu_quota=20000,
        cpu_period=50000, cpuset_cpus="0", oom_score_adj=500,
    )  # fmt: skip
    update(daemon, container)
    assert (shown(daemon, container), limits(daemon, container)) == (expected, last), "nothing was set: nothing changed"


def test_a_restart_forgets_no_update(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod(host_network=True)
    resources = pb.LinuxContainerResources(**GIVEN)  # type: ignore[arg-type]
    container = crun_daemon.run_container(pod, "sleep", "1000", resources=resources)
    update(crun_daemon, container, cpu_shares=1024)
    before = shown(crun_daemon, container), limits(crun_daemon, container)
    crun_daemon.restart()
    assert (shown(crun_daemon, container), limits(crun_daemon, container)) == before
    assert before[0].cpu_shares == 1024


def test_all_limits_or_none(daemon: Daemon) -> None:
    """The runtime has written the memory limit when the kernel refuses the CPU; both are as before."""
    pod = daemon.run_pod(host_network=True)
    resources = pb.LinuxContainerResources(**GIVEN)  # type: ignore[arg-type]
    container = daemon.run_container(pod, "sleep", "1000", resources=resources)
    before = shown(daemon, container), limits(daemon, container)
    refused(daemon, container, memory_limit_in_bytes=128 * MB, cpuset_cpus="4000")
    assert (shown(daemon, container), limits(daemon, container)) == before
    refused(daemon, container, memory_limit_in_bytes=32 * MB, cpu_shares=2, cpu_quota=7)
    assert (shown(daemon, container), limits(daemon, container)) == before
    update(daemon, container, memory_limit_in_bytes=128 * MB)
    assert limits(daemon, container).memory == 128 * MB


def test_what_is_no_update(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod(host_network=True)
    container = crun_daemon.run_container(pod, "echo")
    assert refused(crun_daemon, "0123abcd", cpu_shares=3)[0] == grpc.StatusCode.NOT_FOUND
    assert refused(crun_daemon, "", cpu_shares=3)[0] == grpc.StatusCode.INVALID_ARGUMENT
    crun_daemon.wait_exit(container)
    code, words = refused(crun_daemon, container, cpu_shares=3)
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "exited" in words
    created = crun_daemon.create(pod, container_config("other", "echo"))
    before = limits(crun_daemon, created)
    for wrong in ({"cpu_shares": -1}, {"memory_swap_limit_in_bytes": 5 * MB}, {"cpuset_cpus": "; rm"}):
        assert refused(crun_daemon, created, memory_limit_in_bytes=0, **wrong)[0] == grpc.StatusCode.INVALID_ARGUMENT
    assert limits(crun_daemon, created) == before


def test_memory_in_use_is_not_taken_away(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod(host_network=True)
    resources = pb.LinuxContainerResources(memory_limit_in_bytes=64 * MB)
    container = crun_daemon.run_container(pod, "sleep", "1000", resources=resources)
    crun_daemon.exec(container, "busybox", "dd", "if=/dev/zero", "of=/dev/shm/used", "bs=1M", "count=24")
    code, words = refused(crun_daemon, container, memory_limit_in_bytes=16 * MB, cpu_shares=512)
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert str(16 * MB) in words
    assert limits(crun_daemon, container).memory == 64 * MB
    update(crun_daemon, container, memory_limit_in_bytes=48 * MB)
    assert crun_daemon.status(container).state == pb.CONTAINER_RUNNING


def test_huge_pages_as_the_kubelet_limits_them(daemon: Daemon) -> None:
    """It sends a limit of 0 for each size with every container, whether or not the kernel can limit them."""
    pod = daemon.run_pod(host_network=True)
    none = [pb.HugepageLimit(page_size=size, limit=0) for size in ("2MB", "1GB")]
    resources = pb.LinuxContainerResources(hugepage_limits=none, memory_limit_in_bytes=64 * MB, cpu_quota=-1)
    container = daemon.run_container(pod, "sleep", "1000", resources=resources)
    some = [pb.HugepageLimit(page_size="2MB", limit=4 * MB)]
    update(daemon, container, hugepage_limits=some)
    assert sorted((limit.page_size, limit.limit) for limit in shown(daemon, container).hugepage_limits) == [
        ("1GB", 0),
        ("2MB", 4 * MB),
    ]
    assert refused(daemon, container, hugepage_limits=[pb.HugepageLimit(page_size="2 MB", limit=1)])[0] == (
        grpc.StatusCode.INVALID_ARGUMENT
    )


def test_files_of_cgroup_v2(daemon: Daemon) -> None:
    pod = daemon.run_pod(host_network=True)
    resources = pb.LinuxContainerResources(memory_limit_in_bytes=64 * MB)
    container = daemon.run_container(pod, "sleep", "1000", resources=resources)
    files = {"memory.high": str(48 * MB), "memory.oom.group": "1"}
    if not UNIFIED:
        assert "v1" in refused(daemon, container, unified=files, memory_limit_in_bytes=32 * MB)[1]
        assert limits(daemon, container).memory == 64 * MB
        return
    update(daemon, container, unified=files)
    values = daemon.exec(container, "cat", *(f"/sys/fs/cgroup/{name}" for name in files)).stdout.decode().split()
    assert values == list(files.values())
    assert dict(shown(daemon, container).unified) == files


def test_annotations_of_an_update_are_kept(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod(host_network=True)
    container = crun_daemon.create(pod, container_config("main", "echo", annotations={"own": "1"}))
    update(crun_daemon, container, {"a": "1", "b": "1"})
    update(crun_daemon, container, {"b": "2"})
    assert info(crun_daemon, container)["updateAnnotations"] == {"a": "1", "b": "2"}
    assert dict(crun_daemon.status(container).annotations) == {"own": "1"}


def test_a_pods_new_size(crun_daemon: Daemon) -> None:
    pod = crun_daemon.run_pod(host_network=True)

    def resize(sandbox: str, **given: pb.LinuxContainerResources) -> None:
        request = pb.UpdatePodSandboxResourcesRequest(pod_sandbox_id=sandbox, **given)
        crun_daemon.runtime.UpdatePodSandboxResources(request)

    def size() -> tuple[Any, Any]:
        request = pb.PodSandboxStatusRequest(pod_sandbox_id=pod, verbose=True)
        facts = json.loads(crun_daemon.runtime.PodSandboxStatus(request).info["info"])
        return facts["overhead"], facts["resources"]

    assert size() == ({}, {})
    resize(pod, resources=pb.LinuxContainerResources(cpu_shares=512), overhead=pb.LinuxContainerResources(cpu_period=5))
    resize(pod, resources=pb.LinuxContainerResources(cpu_shares=1024))
    crun_daemon.restart()
    assert size() == ({"cpuPeriod": "5"}, {"cpuShares": "1024"})
    crun_daemon.stop_pod(pod)
    for sandbox, code in ((pod, grpc.StatusCode.FAILED_PRECONDITION), ("0123abcd", grpc.StatusCode.NOT_FOUND)):
        with pytest.raises(grpc.RpcError) as error:
            resize(sandbox)
        assert error.value.code() == code
