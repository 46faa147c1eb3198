"""Pods that come and go: what the daemon holds afterwards is what it held before.

PODWRIGHT_CYCLES says how many (20): a thousand take some minutes.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import names
from tests.support.daemon import Daemon

pytestmark = pytest.mark.root

CYCLES = int(os.environ.get("PODWRIGHT_CYCLES", "20"))
WARM_UP = 5
MIB = 1 << 20
# Python's allocator and gRPC's arenas settle; a kilobyte lost in each cycle would be more.
_SETTLING_BYTES, _BYTES_A_CYCLE = 6 * MIB, 1024


@dataclass(frozen=True)
class Held:
    """What a daemon holds: descriptors by what they refer to, threads, children, files by directory, memory."""

    descriptors: Counter[str]
    threads: int
    children: int
    files: Counter[str]
    anonymous_bytes: int


@pytest.fixture(params=["crun", "runc"])
def daemon(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Daemon]:
    server = Daemon(tmp_path, runtime=str(request.param))
    server.start()
    try:
        server.load_hello()
        yield server
    finally:
        server.remove_everything()
    assert server.leftovers() == []


def cycle(daemon: Daemon) -> None:
    pod = daemon.run_pod(names.unique("cycle"))
    container = daemon.run_container(pod, "sleep", "1000")
    assert daemon.exec(container, "echo", "alive").stdout == b"alive\n"
    daemon.stop_container(container)
    daemon.remove_container(container)
    daemon.stop_pod(pod)
    daemon.remove_pod(pod)


def held(daemon: Daemon) -> Held:
    """Once the daemon has come to rest: nothing it starts for a moment is there."""
    assert daemon.leftovers() == []
    assert daemon.process is not None
    proc = Path(f"/proc/{daemon.process.pid}")
    status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines())
    children = [task.joinpath("children").read_text().split() for task in (proc / "task").iterdir()]
    return Held(
        Counter(kind(os.readlink(fd)) for fd in proc.joinpath("fd").iterdir()),
        int(status["Threads"]),
        sum(map(len, children)),
        Counter(str(path.parent) for top in (daemon.run, daemon.root) for path in top.rglob("*")),
        int(status["RssAnon"].split()[0]) * 1024,
    )


def kind(target: str) -> str:
    """Sockets and pipes are told apart by numbers that differ each time."""
    return target.partition(":")[0] if target.startswith(("socket:", "pipe:")) else target


def comes_to_rest(daemon: Daemon, before: Held) -> Held:
    """A thread pool, an unpack worker that idles, a gRPC stream that closes: these take a moment."""
    deadline = time.monotonic() + 5
    while (after := held(daemon)).descriptors - before.descriptors and time.monotonic() < deadline:
        time.sleep(0.1)  # noqa: TID251 - no event loop here
    return after


def test_nothing_grows(daemon: Daemon) -> None:
    for _ in range(WARM_UP):
        cycle(daemon)
    before = held(daemon)
    for _ in range(CYCLES):
        cycle(daemon)
    after = comes_to_rest(daemon, before)
    # Less is no fault: a worker that unpacked the image has gone home meanwhile.
    assert after.descriptors - before.descriptors == Counter()
    assert after.children <= before.children
    assert after.files - before.files == Counter()
    assert after.threads <= before.threads + 2, "the pool of threads may still be filling up"
    assert after.anonymous_bytes - before.anonymous_bytes < _SETTLING_BYTES + CYCLES * _BYTES_A_CYCLE
