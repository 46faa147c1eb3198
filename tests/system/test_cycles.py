"""Pods that come and go, with everything clients do in them: what the daemon holds afterwards is what it held before.

PODWRIGHT_CYCLES says how many (20): a thousand take some minutes.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from podwright.base.streams import ProcessStreams
from podwright.base.tasks import Tasks
from podwright.criapi import api_pb2 as pb
from podwright.streaming import client
from podwright.streaming.base import Wanted
from podwright.wire.remotecommand import Outcome
from tests.support import names
from tests.support.daemon import Daemon, container_config
from tests.support.streaming import Bytes, Collected

pytestmark = pytest.mark.root

CYCLES = int(os.environ.get("PODWRIGHT_CYCLES", "20"))
WARM_UP = 5
WANTED = Wanted(stdin=True, stdout=True)
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
    config = container_config("main", "cat")
    config.stdin = True
    container = daemon.create(pod, config)
    daemon.start_container(container)
    assert daemon.exec(container, "echo", "alive").stdout == b"alive\n"
    asyncio.run(stream(daemon, container))
    daemon.stop_container(container)
    daemon.remove_container(container)
    daemon.stop_pod(pod)
    daemon.remove_pod(pod)


async def stream(daemon: Daemon, container: str) -> None:
    """Execute with streams, then attach, say something, read it back from the container, and leave."""
    out = Collected()
    request = pb.ExecRequest(container_id=container, cmd=["sh", "-c", "cat; exit 3"], stdin=True, stdout=True)
    streams = ProcessStreams(Bytes(b"in and out"), out)
    outcome = await client.remote_command(daemon.runtime.Exec(request).url, WANTED, streams)
    assert (outcome, bytes(out.data)) == (Outcome(3), b"in and out")
    out, tasks = Collected(), Tasks("attached")
    url = daemon.runtime.Attach(pb.AttachRequest(container_id=container, stdin=True, stdout=True)).url
    streams = ProcessStreams(Bytes(b"hello\n", endless=True), out)
    tasks.start(client.remote_command(url, WANTED, streams), name="attach")
    await out.got_some.wait()
    await tasks.close()


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
