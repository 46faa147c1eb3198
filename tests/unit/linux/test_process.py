from __future__ import annotations

import asyncio
import os
import time

import pytest

from podwright.base.errors import DeadlineExceeded
from podwright.base.tasks import Tasks
from podwright.linux.pidfd import identify, is_alive, send_signal, wait_end
from podwright.linux.process import ProcessFailed, ProgramMissing, run, spawn


async def test_output_and_input() -> None:
    done = await run(["/bin/sh", "-c", "cat; echo err >&2"], stdin=b"hello")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"hello", b"err\n")


async def test_failure_has_the_words_of_the_program() -> None:
    with pytest.raises(ProcessFailed, match="sh: exit status 3: sorry") as caught:
        await run(["/bin/sh", "-c", "echo sorry >&2; exit 3"])
    assert caught.value.returncode == 3
    assert (await run(["/bin/sh", "-c", "exit 3"], check=False)).returncode == 3


async def test_missing_program() -> None:
    with pytest.raises(ProgramMissing, match="is it installed"):
        await run(["/no/such/program"])


async def test_deadline_kills_the_whole_group() -> None:
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"did not end within 0\.2 s"):
        await run(["/bin/sh", "-c", "sleep 60 & sleep 60"], timeout_s=0.2)
    assert time.monotonic() - started < 5


async def test_a_grandchild_that_keeps_stdout_does_not_hang_us() -> None:
    started = time.monotonic()
    done = await run(["/bin/sh", "-c", "sleep 2 & echo done"])
    assert done.stdout == b"done\n"
    assert time.monotonic() - started < 1.5
    await asyncio.sleep(2.1)


async def test_cancelled_caller_leaves_no_process() -> None:
    tasks = Tasks("test")
    task = tasks.start(run(["/bin/sleep", "60"]), name="run")
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_environment_is_a_clean_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hush")
    done = await run(["/usr/bin/env"])
    assert b"SECRET_TOKEN" not in done.stdout
    assert b"PATH=" in done.stdout


async def test_identity_of_a_process() -> None:
    process = spawn(["/bin/sleep", "60"])
    identity = identify(process.pid)
    assert identity is not None
    assert is_alive(identity)
    assert send_signal(identity, 9)
    await wait_end(identity)
    assert await process.wait() == -9
    assert not is_alive(identity)
    assert not send_signal(identity, 9)
    assert identify(os.getpid()) is not None
