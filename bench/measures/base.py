"""What a measure is: rounds that the peers take in turn, or a stretch that a peer has the machine for itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.network import Network
from bench.peers import Peer
from bench.samples import Samples
from bench.workspace import Workspace


@dataclass(frozen=True)
class Scale:
    """How much of each. The quick one shows that everything works; its numbers are rough."""

    pods: int = 15
    execs: int = 40
    parallel_rounds: int = 4
    parallel_pods: int = 10
    parallel_width: int = 5
    pulls: int = 5
    density: int = 50
    lists: int = 30
    polls_s: int = 30


QUICK = Scale(
    pods=3, execs=5, parallel_rounds=1, parallel_pods=6, parallel_width=3, pulls=1, density=10, lists=5, polls_s=5
)


@dataclass(frozen=True)
class Ground:
    """What every measure stands on: where files go, the pods' network and image, and where numbers go."""

    workspace: Workspace
    network: Network
    image: str
    samples: Samples
    scale: Scale

    @property
    def pods(self) -> Path:
        return self.workspace.scratch / "pods"


class Turns(Protocol):
    """Measured in rounds: after `prepare` and one warm-up per peer, `once` for each peer, `rounds` times, and `finish`.

    `once` notes its samples in what it is given and leaves the peer as it found it. `finish` also follows a failure.
    """

    @property
    def rounds(self) -> int: ...
    def prepare(self, peer: Peer) -> None: ...
    def once(self, peer: Peer, samples: Samples) -> None: ...
    def finish(self, peer: Peer) -> None: ...


def take_turns(measure: Turns, peers: list[Peer], samples: Samples) -> None:
    """Run all rounds of a measure. The order turns with each round, so that no peer always follows the same one."""
    prepared: list[Peer] = []
    try:
        for peer in peers:
            prepared.append(peer)
            measure.prepare(peer)
            measure.once(peer, Samples())
        for number in range(measure.rounds):
            first = number % len(peers)
            for peer in peers[first:] + peers[:first]:
                measure.once(peer, samples)
    finally:
        for peer in prepared:
            measure.finish(peer)
