"""Containers in Debian's containerd-shim-runc-v2: life, logs, execs, restarts of the daemon, death of the shim."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from podwright.base.streams import ProcessStreams
from podwright.linux import pidfd
from podwright.monitor.base import LOST_EXIT_CODE, Launch
from podwright.monitor.base import Settings as MonitorSettings
from podwright.oci.runtime_spec import LinuxResources, Memory
from podwright.runtime.base import CommandNotRunnable, ContainerNotRunning, InteractiveExec, RuntimeFailed
from podwright.shim.usage import read_usage
from podwright.wire.cri_log import LogJoiner, LogReader
from tests.support.containers import container_config
from tests.support.shims import ShimBench
from tests.support.streams import Keyboard, Screen

pytestmark = pytest.mark.root

TRAP, UNTIL_SIGNALLED = "trap go=1 USR1", "until [ $go ]; do sleep 0.02; done"


async def test_exit_code_and_log_of_both_streams(bench: ShimBench) -> None:
    log = bench.directory / "logs/pod/0.log"
    monitored = await bench.run("sh", "-c", "echo out; echo err >&2; printf tail; exit 7", log=log)
    ended = await bench.monitor.wait_exit(monitored)
    assert (ended.exit_code, ended.lost, ended.oom_hint) == (7, False, False)
    assert abs(ended.finished_at_ns - time.time_ns()) < 60e9
    lines = LogReader().feed(log.read_bytes())
    assert {(line.stream, line.partial, line.content) for line in lines} == {
        ("stdout", False, b"out"), ("stderr", False, b"err"), ("stdout", True, b"tail")
    }  # fmt: skip


async def test_a_pod_has_one_shim_that_ends_with_its_last_container(bench: ShimBench) -> None:
    first, second = await bench.run("sleep", "100"), await bench.run("sleep", "100")
    assert first.monitor == second.monitor
    await bench.remove(first.container_id)
    assert pidfd.is_alive(second.monitor)
    assert pidfd.is_alive(second.process)
    await bench.remove(second.container_id)
    async with asyncio.timeout(30):
        await pidfd.wait_end(second.monitor)


async def test_containers_come_while_the_last_one_goes(bench: ShimBench) -> None:
    """The shim may end between its program's answer and the creation: then another is asked for."""
    last = await bench.run("sleep", "100")
    for _ in range(4):
        _, last = await asyncio.gather(bench.remove(last.container_id), bench.run("sleep", "100"))
        assert pidfd.is_alive(last.process)


async def test_a_failed_create_leaves_no_shim(bench: ShimBench) -> None:
    bundle = bench.bundle("c-broken", container_config("true"))
    (bundle / "config.json").write_text('{"ociVersion": "1.0.2"}')
    launch = Launch(container_id="c-broken", name="c", bundle=bundle, command=bench.runtime.command)
    with pytest.raises(RuntimeFailed):
        await bench.monitor.create(launch)
    assert bench.driver.shims.place("c-broken") is None


async def test_a_terminal_has_a_size_and_one_stream(bench: ShimBench) -> None:
    config = container_config("sh", "-c", f"{TRAP}; echo ready; {UNTIL_SIGNALLED}; stty size; echo err >&2")
    config.tty = True
    log = bench.directory / "logs/0.log"
    monitored = await bench.run(config=config, log=log)
    await _content(log, b"F ready\r\n")  # the first process of a namespace gets no signal that it has no trap for
    await bench.monitor.resize(monitored, width=132, height=43)
    await bench.runtime.kill(monitored.container_id, signal.SIGUSR1)
    assert (await bench.monitor.wait_exit(monitored)).exit_code == 0
    lines = LogReader().feed(log.read_bytes())
    assert {line.stream for line in lines} == {"stdout"}
    assert [line.content for line in lines] == [b"ready\r", b"43 132\r", b"err\r"]


async def test_a_command_that_is_not_there_leaves_nothing(bench: ShimBench) -> None:
    with pytest.raises(CommandNotRunnable) as error:
        await bench.run("no-such-command")
    assert error.value.exit_code == 127


async def test_start_kill_and_delete_know_the_states(bench: ShimBench) -> None:
    monitored = await bench.run("sleep", "100")
    runtime, container_id = bench.runtime, monitored.container_id
    with pytest.raises(ContainerNotRunning):
        await runtime.start(container_id)
    comm = Path(f"/proc/{monitored.process.pid}/comm")
    async with asyncio.timeout(30):
        while comm.read_text() != "sleep\n":  # runc's init, which goes before, ends with 2 where it is signalled
            await asyncio.sleep(0.01)
    await runtime.kill(container_id, signal.SIGTERM)
    await runtime.kill(container_id, signal.SIGKILL)
    assert (await bench.monitor.wait_exit(monitored)).exit_code in (137, 143)
    await runtime.kill(container_id, signal.SIGKILL)
    await runtime.delete(container_id)
    await runtime.delete(container_id)
    assert await runtime.state(container_id) is None


async def test_pause_resume_and_update(bench: ShimBench) -> None:
    monitored = await bench.run("sleep", "100")
    runtime, container_id = bench.runtime, monitored.container_id
    for verb, wanted in ((runtime.pause, "paused"), (runtime.resume, "running")):
        await verb(container_id)
        await verb(container_id)
        state = await runtime.state(container_id)
        assert state is not None
        assert state.status == wanted
    await runtime.update(container_id, LinuxResources(memory=Memory(limit=64 << 20)))
    stats = bench.cgroups.stats(bench.cgroups.kernel_path(bench.parent, container_id))
    assert stats is not None
    assert stats.memory is not None
    assert stats.memory.limit_bytes == 64 << 20
    usage = read_usage(await (await bench.driver.shims.task(container_id)).stats())
    assert stats.cpu is not None
    assert usage.cpu_ns >= stats.cpu.usage_ns > 0
    assert usage.memory_bytes > 0


async def test_exec_gives_code_output_and_truncation(bench: ShimBench) -> None:
    monitored = await bench.run("sleep", "100")
    run = bench.runtime.exec_sync
    result = await run(bench.exec_request(monitored, "sh", "-c", "echo out; echo err >&2; exit 3"))
    assert (result.exit_code, result.stdout, result.stderr) == (3, b"out\n", b"err\n")
    result = await run(bench.exec_request(monitored, "sh", "-c", "head -c 300000 /dev/zero", limit=100000))
    assert (len(result.stdout), result.truncated) == (100000, True)
    with pytest.raises(CommandNotRunnable):
        await run(bench.exec_request(monitored, "no-such-command"))


async def test_exec_that_takes_too_long_is_killed(bench: ShimBench) -> None:
    monitored = await bench.run("sleep", "100")
    request = bench.exec_request(monitored, "sh", "-c", "echo begun; sleep 1234 & wait", timeout_s=2)
    result = await bench.runtime.exec_sync(request)
    assert (result.exit_code, result.timed_out, result.stdout) == (137, True, b"begun\n")
    listing = await bench.runtime.exec_sync(bench.exec_request(monitored, "ps"))
    assert b"sleep 1234" not in listing.stdout
    assert b"sleep 100" in listing.stdout


async def test_exec_in_a_container_that_has_ended(bench: ShimBench) -> None:
    monitored = await bench.run("true")
    await bench.monitor.wait_exit(monitored)
    with pytest.raises(ContainerNotRunning):
        await bench.runtime.exec_sync(bench.exec_request(monitored, "true"))


async def test_exec_carries_input_to_its_end(bench: ShimBench) -> None:
    monitored = await bench.run("sleep", "100")
    screen = Screen()
    streams = ProcessStreams(stdin=Keyboard(b"one\n", b"two\n", closed=True), stdout=screen)
    process = bench.process(monitored, ["cat"])
    async with asyncio.timeout(30):
        code = await bench.runtime.exec(InteractiveExec(monitored.container_id, process, streams))
    assert (code, screen.text, screen.closed) == (0, b"one\ntwo\n", True)


async def test_attach_to_input_that_is_open_once(bench: ShimBench) -> None:
    config = container_config("cat")
    config.stdin = config.stdin_once = True
    log = bench.directory / "logs/0.log"
    monitored = await bench.run(config=config, log=log)
    screen = Screen()
    streams = ProcessStreams(stdin=Keyboard(b"hello\n", closed=True), stdout=screen)
    async with asyncio.timeout(30):
        _, ended = await asyncio.gather(
            bench.monitor.attach(monitored, streams, stdin=True, stdin_once=True), bench.monitor.wait_exit(monitored)
        )
    assert ended.exit_code == 0
    assert screen.text == b"hello\n"
    assert b"F hello\n" in log.read_bytes()


async def test_log_is_opened_anew(bench: ShimBench) -> None:
    log = bench.directory / "logs/0.log"
    monitored = await bench.run("sh", "-c", f"{TRAP}; echo one; {UNTIL_SIGNALLED}; echo two", log=log)
    await _content(log, b"F one\n")
    log.rename(log.with_suffix(".1"))
    await bench.monitor.reopen_log(monitored)
    await bench.runtime.kill(monitored.container_id, signal.SIGUSR1)
    assert (await bench.monitor.wait_exit(monitored)).exit_code == 0
    assert b"F two\n" in log.read_bytes()
    assert b"one" not in log.read_bytes()


async def test_log_begins_afresh_at_its_limit(bench: ShimBench) -> None:
    bench.settings = MonitorSettings(log_size_max_bytes=8192)
    await bench.restart()
    log = bench.directory / "logs/0.log"
    monitored = await bench.run("sh", "-c", "for i in $(seq 400); do echo line $i; done", log=log)
    await bench.monitor.wait_exit(monitored)
    assert log.stat().st_size <= 8192
    assert log.read_bytes().endswith(b"F line 400\n")


async def test_another_daemon_finds_containers_output_and_exits(bench: ShimBench) -> None:
    log = bench.directory / "logs/0.log"
    script = f"{TRAP}; printf half; {UNTIL_SIGNALLED}; echo ' line'; exit 5"
    monitored = await bench.run("sh", "-c", script, log=log)
    await _content(log, b"P half\n")
    await bench.restart()
    assert await bench.monitor.exit_now(monitored) is None
    await bench.runtime.kill(monitored.container_id, signal.SIGUSR1)
    ended = await bench.monitor.wait_exit(monitored)
    assert (ended.exit_code, ended.lost) == (5, False)
    entries = LogJoiner().add(LogReader().feed(log.read_bytes()))
    assert [(entry.content, entry.complete) for entry in entries] == [(b"half line", True)]


async def test_an_end_that_no_daemon_saw_is_told_to_the_next(bench: ShimBench) -> None:
    monitored = await bench.run("sleep", "100")
    await bench.driver.close()
    os.kill(monitored.process.pid, signal.SIGKILL)
    await pidfd.wait_end(monitored.process)
    await bench.restart()
    ended = await bench.monitor.wait_exit(monitored)
    assert (ended.exit_code, ended.lost) == (137, False)


async def test_death_of_the_shim_ends_its_containers(bench: ShimBench) -> None:
    containers = [await bench.run("sleep", "100"), await bench.run("sleep", "100")]
    os.kill(containers[0].monitor.pid, signal.SIGKILL)
    async with asyncio.timeout(30):
        for ended in await asyncio.gather(*(bench.monitor.wait_exit(monitored) for monitored in containers)):
            assert (ended.lost, ended.exit_code) == (True, LOST_EXIT_CODE)
        for monitored in containers:
            await pidfd.wait_end(monitored.process)


async def test_memory_that_runs_out_is_told_as_an_event(bench: ShimBench) -> None:
    config = container_config("sh", "-c", "tail /dev/zero")
    config.linux.resources.memory_limit_in_bytes = 16 << 20
    monitored = await bench.run(config=config)
    await bench.monitor.wait_exit(monitored)
    async with asyncio.timeout(30):
        while not bench.driver.events.out_of_memory(monitored.container_id):
            await asyncio.sleep(0.01)


async def test_death_of_the_shim_without_a_daemon(bench: ShimBench) -> None:
    monitored = await bench.run("sleep", "100")
    await bench.driver.close()
    os.kill(monitored.monitor.pid, signal.SIGKILL)
    await pidfd.wait_end(monitored.monitor)
    await bench.restart()
    ended = await bench.monitor.exit_now(monitored)
    assert ended is not None
    assert ended.lost
    await bench.runtime.delete(monitored.container_id, force=True)
    async with asyncio.timeout(30):
        await pidfd.wait_end(monitored.process)


async def _content(log: Path, wanted: bytes) -> None:
    """Wait until the log ends with `wanted`."""
    async with asyncio.timeout(30):
        while not log.read_bytes().endswith(wanted):
            await asyncio.sleep(0.01)
