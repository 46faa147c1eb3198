"""Many pods at once: what a node does when it boots or a deployment scales."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from bench import pods
from bench.measures.base import Ground
from bench.peers import Peer
from bench.samples import Samples


class ParallelStarts:
    """A number of pods, some of them at a time; up, then down."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    @property
    def rounds(self) -> int:
        return self._ground.scale.parallel_rounds

    def prepare(self, peer: Peer) -> None:
        """Nothing beyond the image."""

    def once(self, peer: Peer, samples: Samples) -> None:
        """Time all pods up, each pod by itself, and all down."""
        ground = self._ground
        planned = [
            pods.plan(ground.pods, ground.image, handler=peer.handler) for _ in range(ground.scale.parallel_pods)
        ]

        def start(pod: pods.Pod) -> tuple[pods.Running, float]:
            begin = time.perf_counter()
            running = pods.start(peer.client, pod)
            return running, (time.perf_counter() - begin) * 1000

        with ThreadPoolExecutor(ground.scale.parallel_width) as threads:
            with samples.timed("parallel.all_ready", peer.name):
                started = list(threads.map(start, planned))
            for _, took_ms in started:
                samples.add("parallel.pod_ready", peer.name, took_ms)
            with samples.timed("parallel.all_down", peer.name):
                list(threads.map(lambda item: pods.take_down(peer.client, item[0]), started))

    def finish(self, peer: Peer) -> None:
        """Nothing is kept."""
