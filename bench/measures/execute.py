"""ExecSync of /bin/true in a running container: what an exec probe costs."""

from __future__ import annotations

from bench import pods
from bench.measures.base import Ground
from bench.peers import Peer
from bench.samples import Samples
from podwright.criapi import api_pb2


class Exec:
    """One pod per peer, one ExecSync a turn."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._running: dict[str, pods.Running] = {}

    @property
    def rounds(self) -> int:
        return self._ground.scale.execs

    def prepare(self, peer: Peer) -> None:
        """Start the pod."""
        pod = pods.plan(self._ground.pods, self._ground.image, handler=peer.handler)
        self._running[peer.name] = pods.start(peer.client, pod)

    def once(self, peer: Peer, samples: Samples) -> None:
        """Run the program and look at its exit code."""
        container_id = self._running[peer.name].container_id
        request = api_pb2.ExecSyncRequest(container_id=container_id, cmd=["/bin/true"], timeout=10)
        with samples.timed("exec.ExecSync", peer.name):
            answer = peer.client.runtime.ExecSync(request, timeout=60)
        if answer.exit_code != 0:
            raise RuntimeError(f"{peer.name}: /bin/true ended with {answer.exit_code}: {answer.stderr!r}")

    def finish(self, peer: Peer) -> None:
        """Take the pod down."""
        if running := self._running.pop(peer.name, None):
            pods.take_down(peer.client, running)
