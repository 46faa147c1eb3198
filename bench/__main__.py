"""`python -m bench`: reads the command line, starts what is compared, measures, reports, takes everything down."""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench import images, peers, programs, report
from bench.measures.base import QUICK, Ground, Scale
from bench.network import Network
from bench.registry import Registry
from bench.run import FURTHER, SUBJECTS, measure_all
from bench.samples import Samples
from bench.workspace import Workspace

_DEFAULT = ("podwright-crun", "podwright-runc")
_HANDLER = "podwright-"
_DOCKER = "podwright-docker"


def main() -> int:
    """Run the bench once; 0 when every measure was taken."""
    options = _options()
    if os.geteuid() != 0:
        sys.exit("bench: run as root: it starts container runtimes and makes networks")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: terminated"))
    workspace = Workspace(options.directory.absolute())
    workspace.prepare()
    samples, about = Samples(), report.machine()
    if about["load"] > 0.5:
        print(f"bench: the machine is busy (load {about['load']:.2f}): compare ratios, not numbers", file=sys.stderr)
    scale = QUICK if options.quick else Scale()
    if options.density:
        scale = dataclasses.replace(scale, density=options.density)
    subjects = set(options.only.split(",")) if options.only else set(SUBJECTS)
    try:
        about["peers"] = _measure(workspace, options, scale, subjects, samples)
    except (programs.ProgramError, RuntimeError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130
    finally:
        workspace.clear()
        _report(workspace, options, samples, about)
    return 0


def _measure(
    workspace: Workspace, options: argparse.Namespace, scale: Scale, subjects: set[str], samples: Samples
) -> dict[str, str]:
    with ExitStack() as stack:
        network = Network(workspace, masquerade=not options.no_masquerade)
        stack.enter_context(network.configured())
        registry = Registry(workspace)
        stack.callback(registry.stop)
        wanted = (images.POD, images.PAUSE, *(images.PULLS if "pull" in subjects else ()))
        for recipe in wanted:
            registry.push(recipe)
        ground = Ground(workspace, network, registry.reference(images.POD), samples, scale)
        chosen = [_peer(workspace, registry, name) for name in _names(options)]
        return measure_all(ground, registry, chosen, subjects)


def _names(options: argparse.Namespace) -> list[str]:
    names = [*options.subject.split(","), options.peer]
    return [name for name in names if name not in ("none", "")]


def _peer(workspace: Workspace, registry: Registry, name: str) -> peers.Peer:
    if name == "containerd":
        return peers.containerd(workspace, registry.reference(images.PAUSE))
    if name == _DOCKER:
        return peers.podwright_on_docker(workspace)
    if name.startswith(_HANDLER):
        return peers.podwright(workspace, name.removeprefix(_HANDLER))
    if name.startswith("/"):
        return peers.foreign(Path(name))
    raise programs.ProgramError(f"{name}: not containerd, {_HANDLER}HANDLER, {_DOCKER}, none or a CRI socket's path")


def _report(workspace: Workspace, options: argparse.Namespace, samples: Samples, about: dict[str, Any]) -> None:
    if not samples.metrics:
        return
    named = options.peer if options.peer.startswith(_HANDLER) else Path(options.peer).parent.name
    baseline = {"containerd": "containerd-runc", "none": None}.get(options.peer, named)
    stem = workspace.results / time.strftime("%Y%m%d-%H%M%S")
    report.save(stem.with_suffix(".json"), samples, about)
    text = report.table(samples, baseline)
    stem.with_suffix(".md").write_text(text + "\n")
    print(f"{text}\n\n{stem}.json, {stem}.md")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=sys.modules["bench"].__doc__)
    parser.add_argument(
        "--subject",
        default=",".join(_DEFAULT),
        help="what is measured, by commas: podwright-HANDLER (%(default)s), podwright-docker, none, or sockets",
    )
    parser.add_argument("--peer", default="containerd", help="what it is measured against: containerd, or as --subject")
    parser.add_argument("--only", default="", help=f"some of: {','.join((*SUBJECTS, *FURTHER))}")
    parser.add_argument("--no-masquerade", action="store_true", help="a pod network without iptables rules")
    parser.add_argument(
        "--density", type=int, default=0, help="how many pods memory, lists and polling are measured with"
    )
    parser.add_argument("--quick", action="store_true", help="few rounds: to see that it works")
    parser.add_argument(
        "--directory", type=Path, default=Path(".bench"), help="images, registry, scratch, logs, results (%(default)s)"
    )
    options = parser.parse_args()
    if unknown := set(filter(None, options.only.split(","))) - {*SUBJECTS, *FURTHER}:
        parser.error(f"--only: unknown {', '.join(sorted(unknown))}; choose from {', '.join((*SUBJECTS, *FURTHER))}")
    return options


if __name__ == "__main__":
    sys.exit(main())
