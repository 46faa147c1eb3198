"""What only systemd and cgroup v2 can show: slices and scopes, their end, OOM kills and stalls as the kernel tells."""

from __future__ import annotations

import os
import subprocess  # noqa: TID251 - systemctl, as a person calls it
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from podwright.cgroup.base import Settings
from podwright.cgroup.detect import cgroup_driver
from podwright.criapi import api_pb2 as pb
from tests.support import names
from tests.support.daemon import Daemon, pod_config
from tests.support.limits import TOP, directory
from tests.system.test_resources import MB, info, limits, update

pytestmark = pytest.mark.root

HUNGRY = "x=a; while true; do x=$x$x; done"


def systemctl(*words: str) -> str:
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)  # noqa: TID251 - no event loop here


def kubelets_parent() -> str:
    """As the kubelet names a burstable pod's slice."""
    return f"kubepods-burstable-pod{names.unique('u').replace('-', '_')}.slice"


def run_pod(daemon: Daemon, parent: str = "", *, pid: int = pb.CONTAINER) -> str:
    config = pod_config(
        names.unique("pod"), daemon.directory / "logs", host_network=True, cgroup_parent=parent, pid=pid
    )  # fmt: skip
    return str(daemon.runtime.RunPodSandbox(pb.RunPodSandboxRequest(config=config)).pod_sandbox_id)


def cgroup(daemon: Daemon, container: str) -> Path:
    return directory(info(daemon, container)["pid"], "")


def units() -> str:
    return systemctl("list-units", "--all", "--full", "--plain", "--no-legend", "podwright*", "kubepods*")


def test_the_kubelet_is_told_the_driver(daemon: Daemon) -> None:
    config = daemon.runtime.RuntimeConfig(pb.RuntimeConfigRequest())
    assert config.linux.cgroup_driver == pb.SYSTEMD


def test_a_container_is_a_scope_in_the_pods_slice(daemon: Daemon) -> None:
    parent = kubelets_parent()
    resources = pb.LinuxContainerResources(memory_limit_in_bytes=64 * MB, cpu_quota=50000, cpu_period=100000)
    container = daemon.run_container(run_pod(daemon, parent), "sleep", "1000", resources=resources)
    where = TOP / "kubepods.slice/kubepods-burstable.slice" / parent / f"podwright-{container}.scope"
    assert where in (cgroup(daemon, container), cgroup(daemon, container).parent), "crun makes a cgroup in the scope"
    executed = daemon.exec(container, "cat", "/proc/self/cgroup").stdout.decode().strip()
    assert executed == "0::/", "an exec is in the container's cgroup, which is the root of its namespace"

    systemctl("daemon-reload")
    before = limits(daemon, container)
    assert (before.memory, before.quota) == (64 * MB, 50000)
    update(daemon, container, memory_limit_in_bytes=96 * MB, cpu_quota=20000)
    systemctl("daemon-reload")
    after = limits(daemon, container)
    assert (after.memory, after.quota) == (96 * MB, 20000), "systemd writes its own idea of limits when it reloads"

    daemon.stop_container(container)
    daemon.remove_container(container)
    assert not where.exists()
    assert where.name not in units()


def test_pods_of_other_clients_leave_nothing(daemon: Daemon) -> None:
    """They name no parent: the slice is ours to make, and to remove."""
    pod = run_pod(daemon)
    container = daemon.run_container(pod, "sleep", "1000")
    where = next(path for path in cgroup(daemon, container).parents if path.suffix == ".slice")
    assert pod in where.name
    daemon.remove_pod(pod)
    wait_for(lambda: not where.exists(), f"{where} is left:\n{units()}")
    wait_for(lambda: pod not in units(), f"left of {pod}:\n{units()}")


def test_oom_kill_is_told_apart(daemon: Daemon) -> None:
    resources = pb.LinuxContainerResources(memory_limit_in_bytes=15 * MB)
    for attempt in range(3):  # systemd removes a cgroup as soon as it is empty: the counter has to be read before
        container = daemon.run_container(run_pod(daemon), "sh", "-c", HUNGRY, name=f"c{attempt}", resources=resources)
        status = daemon.wait_exit(container, 60)
        assert (status.exit_code, status.reason) == (137, "OOMKilled")
    wait_for(lambda: "failed" not in units(), f"a failed unit is left:\n{units()}")


@pytest.mark.parametrize("group", ["0", "1"])
def test_oom_of_a_child(daemon: Daemon, group: str) -> None:
    """With memory.oom.group the kernel kills the whole container; without it the first process lives and decides."""
    resources = pb.LinuxContainerResources(memory_limit_in_bytes=15 * MB, unified={"memory.oom.group": group})
    script = f"sh -c '{HUNGRY}'; exit 0"
    status = daemon.wait_exit(daemon.run_container(run_pod(daemon), "sh", "-c", script, resources=resources), 60)
    assert (status.exit_code, status.reason) == ((137, "OOMKilled") if group == "1" else (0, "Completed"))


def test_statistics_and_pressure(daemon: Daemon) -> None:
    resources = pb.LinuxContainerResources(cpu_quota=10000, cpu_period=100000, memory_limit_in_bytes=64 * MB)
    container = daemon.run_container(run_pod(daemon), "sh", "-c", "while true; do :; done", resources=resources)
    where = cgroup(daemon, container)
    driver = cgroup_driver(Settings())
    path = "/" + str(where.relative_to(TOP))

    def throttled() -> bool:
        times = driver.details(path).cpu
        return bool(times and times.throttled_ns)

    wait_for(throttled, "the container is not throttled")
    stats = driver.stats(path)
    assert stats is not None
    assert stats.cpu is not None
    assert stats.memory is not None
    assert stats.cpu.pressure is not None
    assert stats.cpu.pressure.some.total_us > 0
    assert stats.memory.pressure is not None
    assert stats.io_pressure is not None
    assert stats.memory.limit_bytes == 64 * MB
    shown = daemon.runtime.ContainerStats(pb.ContainerStatsRequest(container_id=container)).stats
    assert shown.cpu.usage_core_nano_seconds.value > 0
    assert 0 < shown.memory.working_set_bytes.value < 64 * MB
    assert shown.memory.available_bytes.value > 0


def test_a_frozen_container_can_be_stopped(daemon: Daemon) -> None:
    container = daemon.run_container(run_pod(daemon), "sleep", "1000")
    where = cgroup(daemon, container)
    (where / "cgroup.freeze").write_text("1")
    wait_for(lambda: "frozen 1" in (where / "cgroup.events").read_text(), "not frozen")
    daemon.stop_container(container)
    assert daemon.status(container).exit_code == 137


def test_all_processes_of_a_pod_with_one_pid_namespace_are_killed(daemon: Daemon) -> None:
    """The container's processes outlive its first one there, and are found by their cgroup."""
    pod = run_pod(daemon, kubelets_parent(), pid=pb.POD)
    security = pb.LinuxContainerSecurityContext(namespace_options=pb.NamespaceOption(network=pb.NODE, pid=pb.POD))
    container = daemon.run_container(pod, "sh", "-c", "sleep 1000 & sleep 1000 & wait", security=security)
    where = cgroup(daemon, container)
    wait_for(lambda: len((where / "cgroup.procs").read_text().split()) == 3, "the shell and its two children")
    pids = [int(pid) for pid in (where / "cgroup.procs").read_text().split()]
    daemon.stop_container(container)
    wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), "processes are left")
    daemon.remove_pod(pod)
    assert not where.exists()
