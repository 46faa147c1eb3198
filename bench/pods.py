"""Pods as a kubelet asks for them: cgroup parent, limits, seccomp, masked paths, hosts file and termination log."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.client import Client
from bench.workspace import CGROUP_PARENT
from podwright.criapi import api_pb2

LABEL = "podwright-bench"
# Tells the pods' own processes from the runtime's when memory is counted.
WORKLOAD_MARK = "PODWRIGHT_BENCH=workload"
MIB = 1 << 20
# securityContext of a container with procMount Default, as the kubelet spells it out.
_MASKED = ("/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
           "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware")  # fmt: skip
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_SECCOMP = api_pb2.SecurityProfile(profile_type=api_pb2.SecurityProfile.RuntimeDefault)
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Pod:
    """A pod to run: its configuration, its container's, and the handler. Files it mounts exist until `discard`."""

    sandbox: api_pb2.PodSandboxConfig
    container: api_pb2.ContainerConfig
    handler: str
    directory: Path

    def discard(self) -> None:
        """Remove the pod's directory, as the kubelet does once a pod is gone."""
        shutil.rmtree(self.directory, ignore_errors=True)


@dataclass(frozen=True)
class Running:
    """Ids of a pod that was started."""

    pod: Pod
    pod_id: str
    container_id: str


def plan(directory: Path, image: str, *, handler: str = "", host_network: bool = False) -> Pod:
    """A pod of one container that sleeps, with a directory of its own below `directory`."""
    uid = f"{next(_numbers):08d}-bench"
    own = directory / uid
    (own / "log").mkdir(parents=True)
    (own / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    (own / "termination-log").touch()
    namespaces = api_pb2.NamespaceOption(
        network=api_pb2.NODE if host_network else api_pb2.POD, pid=api_pb2.CONTAINER, ipc=api_pb2.POD
    )
    return Pod(_sandbox_config(uid, own, namespaces), _container_config(own, image, namespaces), handler, own)


def _sandbox_config(uid: str, own: Path, namespaces: api_pb2.NamespaceOption) -> api_pb2.PodSandboxConfig:
    security = api_pb2.LinuxSandboxSecurityContext(namespace_options=namespaces, seccomp=_SECCOMP)
    host_network = namespaces.network == api_pb2.NODE
    return api_pb2.PodSandboxConfig(
        metadata=api_pb2.PodSandboxMetadata(name=f"bench-{uid}", uid=uid, namespace="bench"),
        hostname="" if host_network else f"bench-{uid[:8]}",
        log_directory=str(own / "log"),
        dns_config=api_pb2.DNSConfig(servers=["10.96.0.10"], searches=["svc.cluster.local"], options=["ndots:5"]),
        labels={LABEL: "1", "io.kubernetes.pod.uid": uid},
        linux=api_pb2.LinuxPodSandboxConfig(cgroup_parent=CGROUP_PARENT, security_context=security),
    )


def _container_config(own: Path, image: str, namespaces: api_pb2.NamespaceOption) -> api_pb2.ContainerConfig:
    name, _, value = WORKLOAD_MARK.partition("=")
    resources = api_pb2.LinuxContainerResources(
        cpu_period=100_000, cpu_quota=100_000, cpu_shares=512, memory_limit_in_bytes=128 * MIB, oom_score_adj=999
    )
    security = api_pb2.LinuxContainerSecurityContext(
        namespace_options=namespaces, seccomp=_SECCOMP, masked_paths=_MASKED, readonly_paths=_READ_ONLY
    )
    return api_pb2.ContainerConfig(
        metadata=api_pb2.ContainerMetadata(name="main"),
        image=api_pb2.ImageSpec(image=image),
        envs=[api_pb2.KeyValue(key=name, value=value.encode())],
        mounts=[
            api_pb2.Mount(host_path=str(own / "hosts"), container_path="/etc/hosts"),
            api_pb2.Mount(host_path=str(own / "termination-log"), container_path="/dev/termination-log"),
        ],
        labels={LABEL: "1"},
        log_path="main_0.log",
        linux=api_pb2.LinuxContainerConfig(resources=resources, security_context=security),
    )


def run_sandbox(client: Client, pod: Pod) -> str:
    """RunPodSandbox: the pod's id."""
    request = api_pb2.RunPodSandboxRequest(config=pod.sandbox, runtime_handler=pod.handler)
    return client.runtime.RunPodSandbox(request, timeout=240).pod_sandbox_id


def create(client: Client, pod: Pod, pod_id: str) -> str:
    """CreateContainer: the container's id."""
    request = api_pb2.CreateContainerRequest(pod_sandbox_id=pod_id, config=pod.container, sandbox_config=pod.sandbox)
    return client.runtime.CreateContainer(request, timeout=240).container_id


def start(client: Client, pod: Pod) -> Running:
    """Run, create and start: a ready pod."""
    pod_id = run_sandbox(client, pod)
    container_id = create(client, pod, pod_id)
    client.runtime.StartContainer(api_pb2.StartContainerRequest(container_id=container_id), timeout=240)
    return Running(pod, pod_id, container_id)


def stop(client: Client, pod_id: str) -> None:
    """StopPodSandbox: kills what runs and gives back the network."""
    client.runtime.StopPodSandbox(api_pb2.StopPodSandboxRequest(pod_sandbox_id=pod_id), timeout=240)


def remove(client: Client, pod_id: str) -> None:
    """RemovePodSandbox, with every container in it."""
    client.runtime.RemovePodSandbox(api_pb2.RemovePodSandboxRequest(pod_sandbox_id=pod_id), timeout=240)


def take_down(client: Client, running: Running) -> None:
    """Stop and remove a pod and its directory."""
    stop(client, running.pod_id)
    remove(client, running.pod_id)
    running.pod.discard()


@contextmanager
def one_pod(client: Client, pod: Pod) -> Iterator[Running]:
    """A running pod for the length of a block."""
    running = start(client, pod)
    try:
        yield running
    finally:
        take_down(client, running)


def remove_all(client: Client) -> None:
    """Remove every pod of the bench that the runtime knows, whatever state it is in."""
    everything = api_pb2.ListPodSandboxRequest(filter=api_pb2.PodSandboxFilter(label_selector={LABEL: "1"}))
    for item in client.runtime.ListPodSandbox(everything, timeout=60).items:
        stop(client, item.id)
        remove(client, item.id)
