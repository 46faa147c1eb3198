"""The order of a run: what the peers do in turns first, then what each does alone, then the raw parts."""

from __future__ import annotations

import time
from contextlib import ExitStack

import grpc

from bench import floors, machines
from bench.measures import density
from bench.measures.base import Ground, Turns, take_turns
from bench.measures.execute import Exec
from bench.measures.parallel import ParallelStarts
from bench.measures.pod import PodLife
from bench.measures.pull import Pull
from bench.peers import Peer
from bench.registry import Registry

_TURNS = ("pod", "hostpod", "exec", "parallel", "pull")
SUBJECTS = (*_TURNS, *density.SUBJECTS, "raw")
# What is measured only when asked for: a machine takes seconds to boot where the processor is emulated.
FURTHER = machines.SUBJECTS


def measure_all(ground: Ground, registry: Registry, peers: list[Peer], subjects: set[str]) -> dict[str, str]:
    """Measure the subjects for all peers; the peers' versions by name. RuntimeError names the call that failed."""
    try:
        with ExitStack() as stack:
            versions = {}
            for peer in peers:
                _start(peer, ground, stack)
                versions[peer.name] = peer.client.version()
            for name, measure in _turns(ground, registry).items():
                if name in subjects and peers:
                    _say(name)
                    take_turns(measure, peers, ground.samples)
        alone = subjects & set(density.SUBJECTS)
        for peer in peers if alone else []:
            with ExitStack() as stack:
                _say(f"{', '.join(sorted(alone))}: {peer.name}")
                _start(peer, ground, stack)
                density.measure(peer, ground, alone)
    except grpc.RpcError as error:
        raise RuntimeError(f"a call failed: {error}") from error
    if "machine" in subjects:
        _say("machines")
        floors.measure_machines(ground)
    if "raw" in subjects:
        _say("raw parts")
        floors.measure_pods(ground, subjects)
        if "pull" in subjects:
            floors.measure_pulls(ground, registry)
    return versions


def _turns(ground: Ground, registry: Registry) -> dict[str, Turns]:
    return {
        "pod": PodLife(ground, host_network=False),
        "hostpod": PodLife(ground, host_network=True),
        "exec": Exec(ground),
        "parallel": ParallelStarts(ground),
        "pull": Pull(ground, registry),
    }


def _start(peer: Peer, ground: Ground, stack: ExitStack) -> None:
    stack.callback(peer.stop)
    ground.samples.add("daemon.ready", peer.name, peer.start() * 1000)
    peer.client.pull(ground.image)


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)
