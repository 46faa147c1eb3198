"""A node with many pods: memory of daemon and monitors, the calls the kubelet repeats, and what its polling costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc

from bench import pods, processes
from bench.measures.base import Ground
from bench.peers import Peer
from podwright.criapi import api_pb2

SUBJECTS = ("memory", "lists", "polling")
_SETTLE_S = 2


def measure(peer: Peer, ground: Ground, subjects: set[str]) -> None:
    """Fill the peer, which has the machine for itself, with pods and measure the chosen subjects."""
    note = ground.samples.add
    # A first pod warms what is loaded on demand, so that its pages don't count as the other pods'.
    with pods.one_pod(peer.client, pods.plan(ground.pods, ground.image, handler=peer.handler)):
        pass
    time.sleep(_SETTLE_S)
    if "memory" in subjects:
        _note_daemon(peer, ground, "idle")
    started = _fill(peer, ground)
    try:
        time.sleep(_SETTLE_S)
        if "memory" in subjects:
            _note_daemon(peer, ground, "full")
            per_pod = processes.pss_bytes(peer.footprint().monitors) / len(started)
            note("memory.monitors_per_pod", peer.name, per_pod / pods.MIB, "MiB")
        if "lists" in subjects:
            _lists(peer, ground, started[0])
        if "polling" in subjects:
            _polling(peer, ground)
    finally:
        with ThreadPoolExecutor(ground.scale.parallel_width) as threads:
            list(threads.map(lambda running: pods.take_down(peer.client, running), started))


def _fill(peer: Peer, ground: Ground) -> list[pods.Running]:
    planned = [pods.plan(ground.pods, ground.image, handler=peer.handler) for _ in range(ground.scale.density)]
    with ThreadPoolExecutor(ground.scale.parallel_width) as threads:
        return list(threads.map(lambda pod: pods.start(peer.client, pod), planned))


def _note_daemon(peer: Peer, ground: Ground, state: str) -> None:
    pss = processes.pss_bytes(peer.footprint().daemon)
    ground.samples.add(f"memory.daemon_{state}", peer.name, pss / pods.MIB, "MiB")


def _lists(peer: Peer, ground: Ground, one: pods.Running) -> None:
    runtime, images = peer.client.runtime, peer.client.images
    calls: dict[str, Callable[[], object]] = {
        "ListPodSandbox": lambda: runtime.ListPodSandbox(api_pb2.ListPodSandboxRequest()),
        "ListContainers": lambda: runtime.ListContainers(api_pb2.ListContainersRequest()),
        "PodSandboxStatus": lambda: runtime.PodSandboxStatus(
            api_pb2.PodSandboxStatusRequest(pod_sandbox_id=one.pod_id)
        ),
        "ContainerStatus": lambda: runtime.ContainerStatus(
            api_pb2.ContainerStatusRequest(container_id=one.container_id)
        ),
        "ContainerStats": lambda: runtime.ContainerStats(api_pb2.ContainerStatsRequest(container_id=one.container_id)),
        "ListContainerStats": lambda: runtime.ListContainerStats(api_pb2.ListContainerStatsRequest()),
        "ListPodSandboxStats": lambda: runtime.ListPodSandboxStats(api_pb2.ListPodSandboxStatsRequest()),
        "ListPodSandboxMetrics": lambda: runtime.ListPodSandboxMetrics(api_pb2.ListPodSandboxMetricsRequest()),
        "Status": lambda: runtime.Status(api_pb2.StatusRequest()),
        "ListImages": lambda: images.ListImages(api_pb2.ListImagesRequest()),
        "ImageFsInfo": lambda: images.ImageFsInfo(api_pb2.ImageFsInfoRequest()),
    }
    calls = {name: call for name, call in calls.items() if _is_offered(call)}
    for _ in range(ground.scale.lists):
        for name, call in calls.items():
            with ground.samples.timed(f"lists.{name}", peer.name):
                call()


def _is_offered(call: Callable[[], object]) -> bool:
    """Not every runtime offers every call; what is missing leaves its cell empty."""
    try:
        call()
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.UNIMPLEMENTED:
            return False
        raise
    return True


def _polling(peer: Peer, ground: Ground) -> None:
    """CPU of daemon and monitors, in percent of one processor, while asked once a second as the kubelet's PLEG does."""
    runtime = peer.client.runtime
    before, begin = peer.footprint().cpu_s(), time.monotonic()
    for second in range(ground.scale.polls_s):
        runtime.ListPodSandbox(api_pb2.ListPodSandboxRequest())
        runtime.ListContainers(api_pb2.ListContainersRequest())
        runtime.Status(api_pb2.StatusRequest())
        time.sleep(max(0.0, begin + second + 1 - time.monotonic()))
    used = peer.footprint().cpu_s() - before
    ground.samples.add("polling.cpu", peer.name, 100 * used / (time.monotonic() - begin), "%")
