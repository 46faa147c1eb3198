"""ExecSync's driver on real containers: codes, output and its limits, time-outs and what they leave."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from podwright.runtime.base import CommandNotRunnable, ContainerNotRunning, ExecRequest
from tests.support.containers import Bench, container_config

pytestmark = pytest.mark.root


def _processes_with(word: str) -> list[int]:
    """Pids on the host whose command line holds `word`, zombies not counted."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes()
        except OSError:
            continue
        if word.encode() in words and int(name) != os.getpid() and b"pytest" not in words:
            found.append(int(name))
    return found


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 137), ("kill -15 $$", 143)]
)
async def test_exit_code(bench: Bench, script: str, code: int) -> None:
    monitored = await bench.run("sleep", "100")
    result = await bench.runtime.exec_sync(bench.exec_request(monitored, "sh", "-c", script))
    assert (result.exit_code, result.timed_out, result.truncated) == (code, False, False)


async def test_output_of_both_streams(bench: Bench) -> None:
    monitored = await bench.run("sleep", "100")
    result = await bench.runtime.exec_sync(bench.exec_request(monitored, "sh", "-c", "echo out; echo err >&2; exit 1"))
    assert (result.exit_code, result.stdout, result.stderr) == (1, b"out\n", b"err\n")


async def test_it_has_the_containers_confinement(bench: Bench) -> None:
    monitored = await bench.run("sleep", "100")
    script = "grep -E 'Seccomp:|CapInh' /proc/self/status; cat /proc/self/cgroup; ls /proc/$$/fd; true"
    result = await bench.runtime.exec_sync(bench.exec_request(monitored, "sh", "-c", script))
    text = result.stdout.decode()
    assert "Seccomp:\t2" in text
    assert "CapInh:\t0000000000000000" in text
    assert monitored.container_id in text
    assert set(text.split()[-3:]) == {"0", "1", "2"}


async def test_output_is_cut_but_the_process_is_not_blocked(bench: Bench) -> None:
    monitored = await bench.run("sleep", "100")
    request = bench.exec_request(monitored, "sh", "-c", "head -c 3000000 /dev/zero; echo done >&2", limit=100_000)
    result = await bench.runtime.exec_sync(request)
    assert (result.exit_code, len(result.stdout), result.stderr, result.truncated) == (0, 100_000, b"done\n", True)


@pytest.mark.parametrize(("command", "code"), [("nope", 127), ("/no/such", 127), ("/etc", 126)])
async def test_a_command_that_cannot_run(bench: Bench, command: str, code: int) -> None:
    monitored = await bench.run("sleep", "100")
    with pytest.raises(CommandNotRunnable) as failed:
        await bench.runtime.exec_sync(bench.exec_request(monitored, command))
    assert failed.value.exit_code == code


async def test_only_in_running_containers(bench: Bench) -> None:
    monitored = await bench.run("true")
    await bench.monitor.wait_exit(monitored)
    with pytest.raises(ContainerNotRunning):
        await bench.runtime.exec_sync(bench.exec_request(monitored, "true"))
    await bench.remove(monitored.container_id)
    with pytest.raises(ContainerNotRunning):
        await bench.runtime.exec_sync(bench.exec_request(monitored, "true"))


async def test_time_out_kills_the_whole_tree(bench: Bench) -> None:
    monitored = await bench.run("sleep", "100")
    marker = f"7{time.time_ns() % 10**9}"
    script = f"echo begun; sleep {marker} & (setsid sleep {marker}) & sh -c 'sleep {marker}; true' & wait"
    started = time.monotonic()
    result = await bench.runtime.exec_sync(bench.exec_request(monitored, "sh", "-c", script, timeout_s=0.5))
    assert (result.timed_out, result.exit_code, result.stdout) == (True, 137, b"begun\n")
    assert time.monotonic() - started < 3
    assert _processes_with(marker) == []


async def test_time_out_of_a_process_that_ignores_signals(bench: Bench) -> None:
    monitored = await bench.run("sleep", "100")
    script = "trap '' TERM INT HUP; while :; do sleep 0.01; done"
    result = await bench.runtime.exec_sync(bench.exec_request(monitored, "sh", "-c", script, timeout_s=0.3))
    assert result.timed_out


async def test_time_out_of_a_fork_bomb(bench: Bench) -> None:
    monitored = await bench.run("sleep", "100")
    marker = f"8{time.time_ns() % 10**9}"
    script = f"f() {{ sleep {marker} & sleep 0.02; (f) & }}; f; wait; sleep {marker}"
    result = await bench.runtime.exec_sync(bench.exec_request(monitored, "sh", "-c", script, timeout_s=0.4))
    assert result.timed_out
    await asyncio.sleep(0.1)
    assert _processes_with(marker) == []


async def test_cancellation_kills_it_too(bench: Bench) -> None:
    monitored = await bench.run("sleep", "100")
    marker = f"9{time.time_ns() % 10**9}"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.4):
            await bench.runtime.exec_sync(bench.exec_request(monitored, "sh", "-c", f"sleep {marker}; true"))
    assert _processes_with(marker) == []


async def test_a_background_child_does_not_hold_the_call(bench: Bench) -> None:
    monitored = await bench.run("sleep", "100")
    script = "(sleep 0.05; echo late; sleep 50) & echo early"
    started = time.monotonic()
    request = bench.exec_request(monitored, "sh", "-c", script, drain_timeout_s=0.3)
    result = await bench.runtime.exec_sync(request)
    assert 0.25 < time.monotonic() - started < 5
    assert (result.exit_code, result.stdout) == (0, b"early\nlate\n")


async def test_no_files_stay(bench: Bench) -> None:
    monitored = await bench.run("sleep", "100")
    for command in ("true", "false"):
        await bench.runtime.exec_sync(bench.exec_request(monitored, command))
    assert os.listdir(bench.directory / "runtime/.exec") == []


async def test_many_at_once(bench: Bench) -> None:
    monitored = await bench.run("sleep", "100")
    requests = [bench.exec_request(monitored, "sh", "-c", f"echo {n}; exit {n}") for n in range(8)]
    results = await asyncio.gather(*(bench.runtime.exec_sync(request) for request in requests))
    assert [result.exit_code for result in results] == list(range(8))
    assert [result.stdout for result in results] == [f"{n}\n".encode() for n in range(8)]


async def test_the_hosts_dev_null_stays_its_own(bench: Bench) -> None:
    """crun gives its standard streams to the process's user, whatever they are."""
    before = os.stat("/dev/null")
    config = container_config("sleep", "1000")
    config.linux.security_context.run_as_user.value = 1234
    monitored = await bench.run(config=config)
    process = bench.build(monitored.container_id, config).spec.process
    process.args = ["sh", "-c", "id -u; cat"]
    result = await bench.runtime.exec_sync(ExecRequest(monitored.container_id, process, timeout_s=30))
    assert (result.exit_code, result.stdout) == (0, b"1234\n"), "an empty standard input"
    after = os.stat("/dev/null")
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
