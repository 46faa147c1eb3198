"""Clients attached to real containers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from podwright.base.errors import FailedPrecondition, ResourceExhausted
from podwright.base.streams import ProcessStreams
from podwright.base.tasks import Tasks
from podwright.criapi import api_pb2 as pb
from podwright.monitor.base import Monitored, Settings
from podwright.monitor.conmon import Conmon
from podwright.wire.cri_log import LogReader
from tests.support import names
from tests.support.containers import Bench, container_config
from tests.support.streams import Keyboard, Screen, Window

pytestmark = pytest.mark.root


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    owner = Tasks("test")
    yield owner
    await owner.close()


class Client:
    """Somebody who is attached."""

    def __init__(self, bench: Bench, tasks: Tasks, config: pb.ContainerConfig, monitored: Monitored) -> None:
        self._bench, self._tasks, self._config, self._monitored = bench, tasks, config, monitored
        self.keyboard, self.out, self.err, self.window = Keyboard(), Screen(), Screen(), Window()

    def start(self, *, stdin: bool | None = None) -> asyncio.Task[None]:
        config = self._config
        streams = ProcessStreams(
            stdin=self.keyboard if (config.stdin if stdin is None else stdin) else None,
            stdout=self.out,
            stderr=None if config.tty else self.err,
            sizes=self.window.__aiter__() if config.tty else None,
        )
        work = self._bench.monitor.attach(self._monitored, streams, stdin=config.stdin, stdin_once=config.stdin_once)
        return self._tasks.start(work, name="attach")


class Container:
    """A container and as many clients as a test wants."""

    def __init__(self, bench: Bench, tasks: Tasks, config: pb.ContainerConfig, monitored: Monitored) -> None:
        self._bench, self._tasks, self.config, self.monitored = bench, tasks, config, monitored

    def client(self) -> Client:
        return Client(self._bench, self._tasks, self.config, self.monitored)

    async def attach(self, *, stdin: bool | None = None) -> tuple[Client, asyncio.Task[None]]:
        """A client whose connection is there."""
        client = self.client()
        running = client.start(stdin=stdin)
        await asyncio.sleep(0)
        return client, running

    async def start(self) -> None:
        await self._bench.runtime.start(self.monitored.container_id)

    def monitor_descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.monitored.monitor.pid}/fd"))


async def _create(bench: Bench, tasks: Tasks, *command: str, log: Path | None = None, **options: bool) -> Container:
    config = container_config(*command)
    for name, value in options.items():
        setattr(config, name, value)
    return Container(bench, tasks, config, await bench.create(config, log=log))


async def _run(bench: Bench, tasks: Tasks, *command: str, log: Path | None = None, **options: bool) -> Container:
    container = await _create(bench, tasks, *command, log=log, **options)
    await container.start()
    return container


async def test_who_attaches_before_the_start_misses_nothing(bench: Bench, tasks: Tasks) -> None:
    container = await _create(bench, tasks, "sh", "-c", "echo out; echo err >&2; exit 4")
    client, running = await container.attach()
    await container.start()
    await running
    assert (client.out.text, client.err.text) == (b"out\n", b"err\n")
    assert client.out.closed
    assert client.err.closed
    assert (await bench.monitor.wait_exit(container.monitored)).exit_code == 4


async def test_input_stays_open_over_sessions_unless_it_is_for_one(bench: Bench, tasks: Tasks) -> None:
    container = await _run(bench, tasks, "cat", stdin=True)
    for words in (b"first\n", b"second\n"):
        client, running = await container.attach()
        client.keyboard.type(words)
        client.keyboard.close()
        await client.out.shows(words)
        client.out.break_off()
        other, other_running = await container.attach()
        other.keyboard.type(b"again\n")
        await other.out.shows(b"again\n")
        await running
        other.keyboard.break_off()
        await other_running


@pytest.mark.parametrize("way", ["half-close", "leave"])
async def test_input_for_one_session_ends_with_it(bench: Bench, tasks: Tasks, way: str) -> None:
    log = bench.directory / "0.log"
    container = await _run(bench, tasks, "sh", "-c", "cat; echo end", log=log, stdin=True, stdin_once=True)
    client, running = await container.attach()
    client.keyboard.type(b"words\n")
    await client.out.shows(b"words\n")
    if way == "half-close":
        client.keyboard.close()
        await client.out.shows(b"end\n")
    else:
        client.keyboard.break_off()
    await running
    await bench.monitor.wait_exit(container.monitored)
    assert [entry.content for entry in LogReader().feed(log.read_bytes())] == [b"words", b"end"]


async def test_who_only_watches_does_not_end_the_input(bench: Bench, tasks: Tasks) -> None:
    container = await _run(bench, tasks, "sh", "-c", "echo ready; cat; echo end", stdin=True, stdin_once=True)
    for _ in range(3):
        _, watching = await container.attach(stdin=False)
        watching.cancel()
        await asyncio.wait({watching})
    client, running = await container.attach()
    client.keyboard.type(b"still open\n")
    await client.out.shows(b"still open\n")
    client.keyboard.close()
    await running
    assert client.out.text.endswith(b"end\n")


async def test_megabytes_of_input(bench: Bench, tasks: Tasks) -> None:
    container = await _run(bench, tasks, "sh", "-c", "wc -c", stdin=True, stdin_once=True)
    client, running = await container.attach()
    for _ in range(64):
        client.keyboard.type(bytes(64 * 1024))
    client.keyboard.close()
    await running
    assert client.out.text == b"4194304\n"


async def test_a_slow_container_makes_the_client_wait(bench: Bench, tasks: Tasks) -> None:
    go = "/tmp/" + names.unique("go")
    script = f"echo ready; while [ ! -e {go} ]; do sleep 0.01; done; wc -c"
    container = await _run(bench, tasks, "sh", "-c", script, stdin=True, stdin_once=True)
    client, running = await container.attach()
    for _ in range(100):
        client.keyboard.type(bytes(64 * 1024))
    client.keyboard.close()
    result = await bench.runtime.exec_sync(bench.exec_request(container.monitored, "true"))
    assert result.exit_code == 0
    assert client.keyboard.taken < 2 * 1024 * 1024
    await bench.runtime.exec_sync(bench.exec_request(container.monitored, "touch", go))
    await running
    assert client.out.text.endswith(b"6553600\n")


async def test_a_terminal_and_its_size(bench: Bench, tasks: Tasks) -> None:
    script = "while read line; do echo $line: $(stty size); done"
    container = await _run(bench, tasks, "sh", "-c", script, stdin=True, tty=True)
    client, running = await container.attach()
    for number in range(30):
        client.window.resize(100 + number, 20 + number)
    async with asyncio.timeout(20):
        while b": 49 129\r\n" not in client.out.text:
            client.keyboard.type(b"x\r")
            await asyncio.sleep(0.05)
    await bench.runtime.kill(container.monitored.container_id, 9)
    await running


async def test_many_at_once_get_the_same(bench: Bench, tasks: Tasks) -> None:
    container = await _create(bench, tasks, "sh", "-c", "seq 1 20000")
    attached = [await container.attach() for _ in range(30)]
    await container.start()
    expected = b"".join(b"%d\n" % number for number in range(1, 20001))
    for client, running in attached:
        await running
        assert client.out.text == expected


async def test_thousands_come_and_go_and_nothing_grows(bench: Bench, tasks: Tasks) -> None:
    container = await _create(bench, tasks, "sh", "-c", "echo ready; cat; sleep 1000", stdin=True)
    first, running = await container.attach()
    await container.start()
    await first.out.shows(b"ready")
    ours, its = len(os.listdir("/proc/self/fd")), container.monitor_descriptors()
    for _ in range(2000):
        running.cancel()
        await asyncio.wait({running})
        _, running = await container.attach()
        running.cancel()
        await asyncio.wait({running})
    assert len(os.listdir("/proc/self/fd")) <= ours
    assert container.monitor_descriptors() <= its


async def test_thousands_come_and_go_while_it_talks(bench: Bench, tasks: Tasks) -> None:
    container = await _run(bench, tasks, "sh", "-c", "while :; do echo talk; sleep 0.001; done")
    its = container.monitor_descriptors()
    for _ in range(100):
        client, running = await container.attach()
        await client.out.shows(b"talk")
        running.cancel()
        await asyncio.wait({running})
    assert container.monitor_descriptors() <= its + 4


async def test_a_client_that_does_not_read_holds_nobody_up(bench: Bench, tasks: Tasks) -> None:
    bench.monitor = Conmon(Settings(attach_lag_max_bytes=1024 * 1024), bench.exits)
    log = bench.directory / "0.log"
    container = await _create(bench, tasks, "sh", "-c", "seq 1 1000000", log=log)
    slow, slow_running = await container.attach()
    quick, quick_running = await container.attach()
    slow.out.freeze()
    await container.start()
    await bench.monitor.wait_exit(container.monitored)
    await quick_running
    assert quick.out.text.endswith(b"\n1000000\n")
    assert log.read_bytes().rstrip().endswith(b" 1000000")
    with pytest.raises(ResourceExhausted, match="behind"):
        await slow_running


async def test_without_a_monitor(bench: Bench, tasks: Tasks) -> None:
    container = await _run(bench, tasks, "true")
    await bench.monitor.wait_exit(container.monitored)
    with pytest.raises(FailedPrecondition):
        await container.client().start()


async def test_input_that_nobody_reads_is_thrown_away(bench: Bench, tasks: Tasks) -> None:
    """conmon would try again and again to write it."""
    container = await _create(bench, tasks, "sh", "-c", "exec <&-; echo closed; sleep 1000", stdin=True)
    client, running = await container.attach()
    await container.start()
    await client.out.shows(b"closed\n")
    pid = container.monitored.monitor.pid
    before = _cpu_ticks(pid)
    client.keyboard.type(b"nobody reads this\n")
    client.keyboard.close()
    for _ in range(3):
        await bench.runtime.exec_sync(bench.exec_request(container.monitored, "sleep", "0.1"))
    assert client.keyboard.taken
    assert _cpu_ticks(pid) - before < 5
    running.cancel()


def _cpu_ticks(pid: int) -> int:
    """Time in user and kernel mode, proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
