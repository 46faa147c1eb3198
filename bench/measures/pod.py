"""A pod's life, call by call: ready (run + create + start), then stop and remove."""

from __future__ import annotations

from bench import pods
from bench.measures.base import Ground
from bench.peers import Peer
from bench.samples import Samples
from podwright.criapi import api_pb2


class PodLife:
    """One pod of one container, on the bridge network or the host's."""

    def __init__(self, ground: Ground, *, host_network: bool) -> None:
        self._ground, self._host_network = ground, host_network
        self._prefix = "hostpod" if host_network else "pod"

    @property
    def rounds(self) -> int:
        return self._ground.scale.pods

    def prepare(self, peer: Peer) -> None:
        """Nothing beyond the image."""

    def once(self, peer: Peer, samples: Samples) -> None:
        """Bring a pod up and take it down as the kubelet does: container first, with no grace."""
        ground, client, prefix = self._ground, peer.client, self._prefix
        pod = pods.plan(ground.pods, ground.image, handler=peer.handler, host_network=self._host_network)
        with samples.timed(f"{prefix}.ready", peer.name):
            with samples.timed(f"{prefix}.RunPodSandbox", peer.name):
                pod_id = pods.run_sandbox(client, pod)
            with samples.timed(f"{prefix}.CreateContainer", peer.name):
                container_id = pods.create(client, pod, pod_id)
            with samples.timed(f"{prefix}.StartContainer", peer.name):
                client.runtime.StartContainer(api_pb2.StartContainerRequest(container_id=container_id), timeout=240)
        with samples.timed(f"{prefix}.down", peer.name):
            with samples.timed(f"{prefix}.StopContainer", peer.name):
                client.runtime.StopContainer(api_pb2.StopContainerRequest(container_id=container_id), timeout=240)
            with samples.timed(f"{prefix}.StopPodSandbox", peer.name):
                pods.stop(client, pod_id)
            with samples.timed(f"{prefix}.RemoveContainer", peer.name):
                client.runtime.RemoveContainer(api_pb2.RemoveContainerRequest(container_id=container_id), timeout=240)
            with samples.timed(f"{prefix}.RemovePodSandbox", peer.name):
                pods.remove(client, pod_id)
        pod.discard()

    def finish(self, peer: Peer) -> None:
        """Nothing is kept."""
