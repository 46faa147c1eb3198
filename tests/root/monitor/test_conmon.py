"""conmon with real runtimes: creation and its failures, exits, logs, and the death of monitors and daemons."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import stat
import time
from pathlib import Path

import pytest

from podwright.base.errors import FailedPrecondition, InvalidArgument
from podwright.linux import pidfd
from podwright.linux.process import ProgramMissing
from podwright.monitor.base import LOST_EXIT_CODE, Launch, Settings
from podwright.monitor.conmon import Conmon
from podwright.runtime.base import CommandNotRunnable, RuntimeFailed
from podwright.wire.cri_log import LogJoiner, LogReader
from tests.support.containers import Bench, container_config

pytestmark = pytest.mark.root

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(?:Z|[+-]\d\d:\d\d) (stdout|stderr) ([FP]) (.*)\Z")


async def test_exit_code_and_log_of_both_streams(bench: Bench) -> None:
    log = bench.directory / "logs/pod/0.log"
    monitored = await bench.run("sh", "-c", "echo out; echo err >&2; printf tail; exit 7", log=log)
    ended = await bench.monitor.wait_exit(monitored)
    assert (ended.exit_code, ended.lost, ended.oom_hint) == (7, False, False)
    assert abs(ended.finished_at_ns - time.time_ns()) < 5e9
    lines = [LINE.match(line) for line in log.read_text().splitlines()]
    assert all(lines)
    found = {match.groups() for match in lines if match}
    assert found == {("stdout", "F", "out"), ("stderr", "F", "err"), ("stdout", "P", "tail")}


async def test_log_file_is_there_before_the_start(bench: Bench) -> None:
    log = bench.directory / "logs/0.log"
    monitored = await bench.create(container_config("true"), log=log)
    assert stat.S_IMODE(log.stat().st_mode) == 0o640
    assert await bench.monitor.exit_now(monitored) is None


async def test_no_log_path_throws_output_away(bench: Bench) -> None:
    monitored = await bench.run("sh", "-c", "echo lost; exit 3")
    assert (await bench.monitor.wait_exit(monitored)).exit_code == 3


async def test_a_signal_is_128_plus_its_number(bench: Bench) -> None:
    monitored = await bench.run("sleep", "100")
    await bench.runtime.kill(monitored.container_id, signal.SIGKILL)
    assert (await bench.monitor.wait_exit(monitored)).exit_code == 137


async def test_wait_can_be_cancelled_and_repeated(bench: Bench) -> None:
    monitored = await bench.run("sleep", "100")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await bench.monitor.wait_exit(monitored)
    await bench.runtime.kill(monitored.container_id, signal.SIGKILL, process=monitored.process)
    codes = {(await bench.monitor.wait_exit(monitored)).exit_code for _ in range(2)}
    assert codes == {137}
    assert await bench.monitor.exit_now(monitored) == await bench.monitor.wait_exit(monitored)


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [("nope", 127, "nope"), ("/no/such/thing", 127, "/no/such/thing"), ("/etc", 126, "")],
)
async def test_a_command_that_cannot_run_fails_the_creation(bench: Bench, command: str, code: int, words: str) -> None:
    with pytest.raises(CommandNotRunnable) as failed:
        await bench.create(container_config(command))
    assert failed.value.exit_code == code
    assert words in str(failed.value)
    assert "status" not in str(failed.value)


async def test_a_runtime_that_fails_is_quoted_and_leaves_no_monitor(bench: Bench) -> None:
    bundle = bench.bundles / "broken"
    bundle.mkdir()
    (bundle / "config.json").write_text('{"ociVersion": "1.0.2", "process": 3}')
    with pytest.raises(RuntimeFailed) as failed:
        await bench.monitor.create(Launch("broken", "n", bundle, bench.runtime.command))
    assert len(failed.value.words) > 5
    assert not (bench.exits / "broken").exists()
    await bench.monitor.abandon("broken", bundle)
    await bench.runtime.delete("broken", force=True)


async def test_a_runtime_that_hangs_is_ended_at_the_deadline(bench: Bench) -> None:
    script = bench.directory / "hang"
    script.write_text("#!/bin/sh\nexec sleep 1000\n")
    script.chmod(0o755)
    bundle = bench.bundle("hangs", container_config("true"))
    hasty = Conmon(Settings(create_timeout_s=0.3), bench.exits)
    command = type(bench.runtime.command)(script)
    with pytest.raises(Exception, match=r"within 0\.3 s"):
        await hasty.create(Launch("hangs", "n", bundle, command))


async def test_cancelled_creation_leaves_no_monitor(bench: Bench) -> None:
    task = asyncio.get_running_loop().create_task(bench.create(container_config("true")))
    while not list(bench.directory.glob("**/monitor.pid")):
        assert not task.done()
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_missing_monitor_is_named(bench: Bench) -> None:
    absent = Conmon(Settings(path="/no/conmon"), bench.exits)
    with pytest.raises(FailedPrecondition, match="/no/conmon"):
        await absent.create(Launch("x", "n", bench.directory, bench.runtime.command))


async def test_a_missing_runtime_is_named(bench: Bench) -> None:
    bundle = bench.bundle("noruntime", container_config("true"))
    command = type(bench.runtime.command)(Path("/no/runtime"))
    with pytest.raises((RuntimeFailed, ProgramMissing, CommandNotRunnable), match="/no/runtime"):
        await bench.monitor.create(Launch("noruntime", "n", bundle, command))


@pytest.mark.parametrize("path", ["relative.log", "/tmp/a:b.log", "/tmp/../x.log"])
async def test_a_log_path_that_conmon_would_misread_is_refused(bench: Bench, path: str) -> None:
    with pytest.raises(InvalidArgument, match="log path"):
        await bench.create(container_config("true"), log=Path(path))


async def test_a_symlink_in_place_of_the_log_is_refused(bench: Bench) -> None:
    target, log = bench.directory / "victim", bench.directory / "0.log"
    log.symlink_to(target)
    with pytest.raises(InvalidArgument):
        await bench.create(container_config("true"), log=log)
    assert not target.exists()


async def test_a_killed_monitor_loses_the_exit_code_only(bench: Bench) -> None:
    monitored = await bench.run("sleep", "100")
    assert pidfd.send_signal(monitored.monitor, signal.SIGKILL)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await bench.monitor.wait_exit(monitored)
    assert pidfd.is_alive(monitored.process)
    assert await bench.monitor.exit_now(monitored) is None
    await bench.runtime.kill(monitored.container_id, signal.SIGKILL)
    ended = await bench.monitor.wait_exit(monitored)
    assert (ended.lost, ended.exit_code) == (True, LOST_EXIT_CODE)


async def test_another_monitor_object_takes_over(bench: Bench) -> None:
    monitored = await bench.run("sh", "-c", "sleep 0.3; exit 5")
    later = Conmon(Settings(), bench.exits)
    assert await later.exit_now(monitored) is None
    assert (await later.wait_exit(monitored)).exit_code == 5
    assert await later.exit_now(monitored) is not None


async def test_monitor_is_reaped_though_nobody_waits(bench: Bench) -> None:
    monitored = await bench.run("true")
    async with asyncio.timeout(5):
        while Path(f"/proc/{monitored.monitor.pid}").exists():
            await asyncio.sleep(0.01)


async def test_monitor_stays_in_the_daemons_cgroup_and_session_of_its_own(bench: Bench) -> None:
    monitored = await bench.run("sleep", "100")
    ours = Path("/proc/self/cgroup").read_text()
    assert Path(f"/proc/{monitored.monitor.pid}/cgroup").read_text() == ours
    assert monitored.container_id in Path(f"/proc/{monitored.process.pid}/cgroup").read_text()
    assert os.getsid(monitored.monitor.pid) == monitored.monitor.pid


async def test_no_descriptor_leaks_into_container_or_monitor(bench: Bench) -> None:
    log = bench.directory / "0.log"
    leak = os.open("/", os.O_RDONLY)
    os.set_inheritable(leak, True)
    try:
        monitored = await bench.run("sh", "-c", "ls /proc/1/fd; echo end; sleep 100", log=log)
        await _contains(log, "end")
        directory = Path(f"/proc/{monitored.monitor.pid}/fd")
        links = [os.readlink(entry) for entry in directory.iterdir()]
    finally:
        os.close(leak)
    inside = {match[3] for line in log.read_text().splitlines() if (match := LINE.match(line))}
    assert inside == {"0", "1", "2", "end"}
    assert "/" not in links


async def test_reopened_log_loses_no_line(bench: Bench) -> None:
    log = bench.directory / "0.log"
    script = "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done; exec sleep 100"
    monitored = await bench.run("sh", "-c", script, log=log)
    await bench.monitor.reopen_log(monitored)  # nobody renamed it: nothing happens
    parts = []
    for number in range(5):
        old = log.with_name(f"0.log.{number}")
        log.rename(old)
        await bench.monitor.reopen_log(monitored)
        assert stat.S_IMODE(log.stat().st_mode) == 0o640
        parts.append(old)
        await asyncio.sleep(0.02)
    async with asyncio.timeout(20):
        while (written := _entries([*parts, log]))[-1:] != [b"2999"]:
            await asyncio.sleep(0.02)
    assert written == [b"%d" % number for number in range(3000)]


def _entries(parts: list[Path]) -> list[bytes]:
    """What was written, line by line: the monitor may have cut a line where its buffer was full."""
    reader, joiner = LogReader(), LogJoiner()
    return [entry.content for part in parts for entry in joiner.add(reader.feed(part.read_bytes()))]


async def test_reopening_after_the_monitors_death_is_an_error_and_makes_no_file(bench: Bench) -> None:
    log = bench.directory / "0.log"
    monitored = await bench.run("true", log=log)
    await bench.monitor.wait_exit(monitored)
    log.rename(log.with_suffix(".old"))
    with pytest.raises(FailedPrecondition):
        await bench.monitor.reopen_log(monitored)
    assert not log.exists()


async def test_terminal_and_its_size(bench: Bench) -> None:
    log = bench.directory / "0.log"
    script = "tty; trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done"
    config = container_config("sh", "-c", script)
    config.tty = True
    monitored = await bench.run(config=config, log=log)
    await _contains(log, "ready")
    await bench.monitor.resize(monitored, width=132, height=43)
    assert (await bench.monitor.wait_exit(monitored)).exit_code == 0
    text = log.read_text()
    assert "/dev/pts/0" in text
    assert "43 132" in text
    assert " stderr " not in text


async def test_long_lines_come_in_parts(bench: Bench) -> None:
    log = bench.directory / "0.log"
    monitored = await bench.run("sh", "-c", "head -c 50000 /dev/zero | tr '\\0' x; echo; echo end", log=log)
    monitored_exit = await bench.monitor.wait_exit(monitored)
    matches = [LINE.match(line) for line in log.read_text().splitlines()]
    assert monitored_exit.exit_code == 0
    assert all(matches)


async def test_abandon_ends_the_monitor_of_a_living_container(bench: Bench) -> None:
    monitored = await bench.run("sleep", "100")
    await bench.monitor.abandon(monitored.container_id, Path(monitored.bundle))
    assert not pidfd.is_alive(monitored.monitor)
    assert not (bench.exits / monitored.container_id).exists()


async def test_abandon_finds_a_monitor_without_its_pid_file(bench: Bench) -> None:
    monitored = await bench.run("sleep", "100")
    (Path(monitored.bundle) / "monitor.pid").unlink()
    await bench.monitor.abandon(monitored.container_id, Path(monitored.bundle))
    assert not pidfd.is_alive(monitored.monitor)


async def _contains(file: Path, word: str) -> None:
    async with asyncio.timeout(5):
        while word not in file.read_text():
            await asyncio.sleep(0.01)
