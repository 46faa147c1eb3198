"""Interactive exec on real containers, with pipes and with a terminal."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from podwright.base.streams import ProcessStreams
from podwright.base.tasks import Tasks
from podwright.monitor.base import Monitored
from podwright.runtime.base import CommandNotRunnable, ContainerNotRunning, InteractiveExec
from tests.support import names
from tests.support.containers import Bench
from tests.support.streams import Keyboard, Screen, Window

pytestmark = pytest.mark.root


class Client:
    """Somebody who executes a command in a container."""

    def __init__(self, bench: Bench, monitored: Monitored, tasks: Tasks) -> None:
        self.bench, self.monitored, self._tasks = bench, monitored, tasks
        self.keyboard, self.out, self.err, self.window = Keyboard(), Screen(), Screen(), Window()

    def another(self) -> Client:
        return Client(self.bench, self.monitored, self._tasks)

    def start(
        self, *args: str, terminal: bool = False, stdin: bool = True, hangup_s: float | None = None,
        drain_s: float = 5.0,
    ) -> asyncio.Task[int]:  # fmt: skip
        process = self.bench.process(self.monitored, args)
        process.terminal = terminal
        streams = ProcessStreams(
            stdin=self.keyboard if stdin else None,
            stdout=self.out,
            stderr=None if terminal else self.err,
            sizes=self.window.__aiter__() if terminal else None,
        )
        request = InteractiveExec(
            self.monitored.container_id, process, streams, drain_timeout_s=drain_s, hangup_timeout_s=hangup_s
        )
        return self._tasks.start(self.bench.runtime.exec(request), name="exec")


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    owner = Tasks("test")
    yield owner
    await owner.close()


@pytest.fixture
async def client(bench: Bench, tasks: Tasks) -> Client:
    return Client(bench, await bench.run("sleep", "1000"), tasks)


async def _until(condition: Callable[[], bool], *, timeout_s: float = 20) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


def _alive(monitored: Monitored, word: str) -> bool:
    """Whether a process of the container has `word` in its command line."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            inside = monitored.container_id in Path(f"/proc/{name}/cgroup").read_text()
            if inside and word.encode() in Path(f"/proc/{name}/cmdline").read_bytes():
                return True
        except OSError:
            continue
    return False


async def test_the_streams_are_the_processs_own(client: Client) -> None:
    running = client.start("sh", "-c", "read line; echo got $line; echo wrong >&2; cat; exit 3")
    client.keyboard.type(b"a line\n")
    await client.out.shows(b"got a line\n")
    client.keyboard.type(b"more")
    await client.out.shows(b"more")
    assert not running.done()
    client.keyboard.close()
    assert await running == 3
    assert (client.out.text, client.err.text) == (b"got a line\nmore", b"wrong\n")
    assert client.out.closed
    assert client.err.closed


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 255", 255), ("kill -9 $$", 137)])
async def test_exit_codes(client: Client, script: str, code: int, terminal: bool) -> None:
    assert await client.start("sh", "-c", script, terminal=terminal) == code


async def test_without_stdin_there_is_nothing_to_read(client: Client) -> None:
    assert await client.start("sh", "-c", "read x || echo empty", stdin=False) == 0
    assert client.out.text == b"empty\n"


async def test_a_terminal(client: Client) -> None:
    script = "tty; echo ready; while read line; do echo $line: $(stty size); done; echo bye"
    running = client.start("sh", "-c", script, terminal=True)
    await client.out.shows(b"ready\r\n")
    assert client.out.text.startswith(b"/dev/pts/")
    client.window.resize(111, 22)
    client.keyboard.type(b"x\r")
    await client.out.shows(b"x: 22 111\r\n")
    client.window.resize(133, 44)
    client.keyboard.type(b"y\r")
    await client.out.shows(b"y: 44 133\r\n")
    client.keyboard.close()
    assert await running == 0
    assert client.out.text.endswith(b"bye\r\n")


async def test_the_end_of_input_on_a_terminal_ends_an_open_line_too(client: Client) -> None:
    client.keyboard.type(b"no newline")
    client.keyboard.close()
    assert await client.start("sh", "-c", "cat; echo .", terminal=True) == 0
    assert client.out.text.endswith(b"no newlineno newline.\r\n")


async def test_quick_output_on_a_terminal_is_whole(client: Client) -> None:
    for number in range(5):
        client.out = Screen()
        assert await client.start("sh", "-c", f"seq 1 {100 * number + 1}", terminal=True) == 0
        assert client.out.text.split() == [b"%d" % n for n in range(1, 100 * number + 2)]


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("command", ["nope", "/no/such", "/etc"])
async def test_a_command_that_cannot_run(client: Client, command: str, terminal: bool) -> None:
    with pytest.raises(CommandNotRunnable):
        await client.start(command, terminal=terminal)
    assert (client.out.text, client.err.text) == (b"", b"")


@pytest.mark.parametrize("terminal", [False, True])
async def test_only_in_running_containers(bench: Bench, tasks: Tasks, terminal: bool) -> None:
    monitored = await bench.run("true")
    await bench.monitor.wait_exit(monitored)
    with pytest.raises(ContainerNotRunning):
        await Client(bench, monitored, tasks).start("true", terminal=terminal)


async def test_megabytes_both_ways_are_whole(client: Client) -> None:
    block = os.urandom(64 * 1024)
    for _ in range(64):
        client.keyboard.type(block)
    client.keyboard.close()
    assert await client.start("sh", "-c", "cat; echo done >&2") == 0
    assert client.out.text == block * 64
    assert client.err.text == b"done\n"


async def test_a_slow_client_makes_the_process_wait(client: Client) -> None:
    client.out.freeze()
    running = client.start("sh", "-c", "head -c 9000000 /dev/zero; echo end >&2")
    await client.out.is_offered_something()
    assert await client.another().start("true") == 0
    assert client.err.text == b"", "9 MB are in nobody's memory"
    client.out.thaw()
    assert await running == 0
    assert (len(client.out.text), client.err.text) == (9_000_000, b"end\n")


async def test_a_slow_process_makes_the_client_wait(client: Client) -> None:
    for _ in range(100):
        client.keyboard.type(bytes(64 * 1024))
    client.keyboard.close()
    go = "/tmp/" + names.unique("go")
    running = client.start("sh", "-c", f"echo ready; while [ ! -e {go} ]; do sleep 0.01; done; wc -c")
    await client.out.shows(b"ready")
    assert client.keyboard.taken < 1024 * 1024
    assert await client.another().start("touch", go) == 0
    assert await running == 0
    assert client.out.text == b"ready\n6553600\n"


async def test_a_process_that_reads_no_more_is_no_error(client: Client) -> None:
    go = "/tmp/" + names.unique("go")
    script = f"head -n 1; exec <&-; echo closed; while [ ! -e {go} ]; do sleep 0.01; done"
    running = client.start("sh", "-c", script)
    client.keyboard.type(b"one\n")
    await client.out.shows(b"closed\n")
    for _ in range(10):
        client.keyboard.type(bytes(64 * 1024))
    assert await client.another().start("touch", go) == 0
    assert await running == 0


async def test_a_child_in_the_background_does_not_hold_it_up(client: Client) -> None:
    assert await client.start("sh", "-c", "sleep 777 & echo started", drain_s=0.2) == 0
    assert client.out.text == b"started\n"
    assert _alive(client.monitored, "777")


async def test_a_child_that_goes_on_writing_does_not_hold_it_up(client: Client) -> None:
    assert await client.start("sh", "-c", "yes & echo started", drain_s=0.2) == 0
    assert b"started\n" in client.out.text


@pytest.mark.parametrize("way", ["input", "output"])
async def test_a_terminal_is_hung_up_when_the_client_goes(client: Client, way: str) -> None:
    running = client.start("sh", "-c", "echo ready; sleep 888", terminal=True)
    await client.out.shows(b"ready")
    _leave(client, way)
    assert await running == 128 + 1
    await _until(lambda: not _alive(client.monitored, "888"))


@pytest.mark.parametrize("way", ["input", "output"])
async def test_pipes_break_when_the_client_goes(client: Client, way: str) -> None:
    gone = "/tmp/" + names.unique("gone")
    running = client.start("sh", "-c", f"echo ready; cat; echo gone >{gone}")
    await client.out.shows(b"ready")
    _leave(client, way)
    await running
    assert await client.another().start("test", "-e", gone) == 0


def _leave(client: Client, way: str) -> None:
    if way == "input":
        client.keyboard.break_off()
    else:
        client.out.break_off()
        client.keyboard.type(b"to be echoed\n")


async def test_what_goes_on_without_its_client_is_killed_in_time(client: Client) -> None:
    running = client.start("sh", "-c", "echo ready; sleep 999", hangup_s=0.1)
    await client.out.shows(b"ready")
    client.keyboard.break_off()
    assert await running == 137
    assert not _alive(client.monitored, "999")


@pytest.mark.parametrize("terminal", [False, True])
async def test_a_cancelled_caller_kills(client: Client, terminal: bool) -> None:
    running = client.start("sh", "-c", "trap '' HUP; echo ready; sleep 666; sleep 667", terminal=terminal)
    await client.out.shows(b"ready")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not _alive(client.monitored, "666")


@pytest.mark.parametrize("terminal", [False, True])
async def test_the_containers_end_ends_it(client: Client, terminal: bool) -> None:
    running = client.start("sh", "-c", "echo ready; sleep 555", terminal=terminal)
    await client.out.shows(b"ready")
    await client.bench.runtime.kill(client.monitored.container_id, 9)
    assert await running == 137


async def test_nothing_stays_in_the_scratch_directory(client: Client, tmp_path: Path) -> None:
    assert await client.start("true", terminal=True) == 0
    assert await client.start("true") == 0
    with pytest.raises(CommandNotRunnable):
        await client.start("nope", terminal=True)
    assert list((client.bench.directory / "runtime" / ".exec").iterdir()) == []
