"""The log in the CRI's format: rotation under load, the limit of its size, and what is in it at all."""

from __future__ import annotations

import asyncio
import re
import stat
from pathlib import Path

import pytest

from podwright.base.errors import FailedPrecondition, InvalidArgument
from podwright.monitor.base import Monitored, Settings
from podwright.monitor.conmon import Conmon
from podwright.wire.cri_log import LogJoiner, LogReader
from tests.support.containers import Bench, container_config

pytestmark = pytest.mark.root

ENTRY = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}[+-]\d\d:\d\d (stdout|stderr) [PF] [^\n]*")


def lines(*parts: Path, stream: str = "stdout") -> list[bytes]:
    """What the container wrote to a stream. Every entry is whole in its file; a line may be two entries, in two files,
    for conmon cuts lines where its buffer ends."""
    joiner, found = LogJoiner(), []
    for part in parts:
        data = part.read_bytes()
        assert data == b"" or data.endswith(b"\n")
        assert all(ENTRY.fullmatch(line) for line in data.splitlines())
        found += [entry.content for entry in joiner.add(LogReader().feed(data)) if entry.stream == stream]
    return found


async def rotate(bench: Bench, monitored: Monitored, number: int) -> Path:
    """As the kubelet does it."""
    log = Path(monitored.log_path)
    old = log.with_name(f"{log.name}.{number:03}")
    log.rename(old)
    await bench.monitor.reopen_log(monitored)
    assert stat.S_IMODE(log.stat().st_mode) == 0o640
    assert not log.with_name(log.name + ".tmp").exists()
    return old


async def test_rotations_under_load_lose_and_tear_nothing(bench: Bench) -> None:
    count = 100_000
    log = bench.directory / "0.log"
    monitored = await bench.run("sh", "-c", f"seq 1 {count} & seq 1 {count} >&2; wait", log=log)
    ended = asyncio.get_running_loop().create_task(bench.monitor.wait_exit(monitored))
    parts: list[Path] = []
    while not ended.done() and len(parts) < 40:
        try:
            parts.append(await rotate(bench, monitored, len(parts)))
        except FailedPrecondition:  # it has ended
            parts.append(log.with_name(f"{log.name}.{len(parts):03}"))
            break
    assert (await ended).exit_code == 0
    assert len(parts) >= 3, "too few rotations to tell"
    parts += [log] if log.exists() else []
    expected = [b"%d" % number for number in range(1, count + 1)]
    assert lines(*parts, stream="stdout") == expected
    assert lines(*parts, stream="stderr") == expected


async def test_where_no_file_can_be_made_the_monitor_lives_on(bench: Bench) -> None:
    """conmon itself would end if it could not open the file that it was told to."""
    log = bench.directory / "logs" / "0.log"
    monitored = await bench.run("sh", "-c", "echo one; read line; echo two", log=log)
    log.rename(log.with_suffix(".old"))
    blocker = log.with_name(log.name + ".tmp")
    blocker.mkdir()
    with pytest.raises((InvalidArgument, FailedPrecondition, OSError)):
        await bench.monitor.reopen_log(monitored)
    assert not log.exists()
    blocker.rmdir()
    assert (await bench.monitor.wait_exit(monitored)).exit_code == 0
    assert lines(log.with_suffix(".old")) == [b"one", b"two"]


async def test_resizes_do_not_swallow_a_rotation(bench: Bench) -> None:
    """Of several lines in its control fifo conmon obeys the first only."""
    config = container_config("sleep", "1000")
    config.tty = True
    log = bench.directory / "0.log"
    monitored = await bench.run(config=config, log=log)
    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(bench.monitor.resize(monitored, width=80 + number, height=24))
        group.create_task(rotate(bench, monitored, 0))


async def test_the_limit_starts_the_log_afresh(bench: Bench) -> None:
    limit = 64 * 1024
    bench.monitor = Conmon(Settings(log_size_max_bytes=limit), bench.exits)
    log = bench.directory / "0.log"
    monitored = await bench.run("sh", "-c", "seq 1 20000", log=log)
    await bench.monitor.wait_exit(monitored)
    assert 0 < log.stat().st_size <= limit
    kept = lines(log)
    assert kept == [b"%d" % number for number in range(20001 - len(kept), 20001)]


async def test_a_container_that_dies_at_once_has_a_log(bench: Bench) -> None:
    log = bench.directory / "0.log"
    monitored = await bench.run("sh", "-c", "echo out; printf last >&2; exit 9", log=log)
    assert (await bench.monitor.wait_exit(monitored)).exit_code == 9
    assert lines(log) == [b"out"]
    assert b" stderr P last\n" in log.read_bytes(), "without its newline it is a part, as with CRI-O"


async def test_a_terminals_log(bench: Bench) -> None:
    config = container_config("sh", "-c", "echo out; echo err >&2")
    config.tty = True
    log = bench.directory / "0.log"
    monitored = await bench.run(config=config, log=log)
    await bench.monitor.wait_exit(monitored)
    assert lines(log) == [b"out\r", b"err\r"]
