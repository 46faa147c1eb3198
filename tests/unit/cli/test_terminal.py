"""Our own ends of streams: terminals, pipes, files."""

import asyncio
import fcntl
import os
import pty
import select
import signal
import struct
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from podwright.base.streams import TerminalSize
from podwright.base.tasks import Tasks
from podwright.cli.terminal import LocalInput, LocalOutput, raw, window_sizes


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """The outer and the inner end of a terminal."""
    outer, inner = pty.openpty()
    yield outer, inner
    os.close(outer)
    os.close(inner)


def resize(fd: int, rows: int, columns: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def test_raw_keeps_what_was_typed_ahead_and_is_undone(terminal: tuple[int, int]) -> None:
    outer, inner = terminal
    before = termios.tcgetattr(inner)
    os.write(outer, b"ahead\r")
    assert select.select([inner], [], [], 10)[0], "the kernel hands it over in its own time"
    with raw(inner):
        assert os.read(inner, 100) == b"ahead\n"
        os.write(outer, b"\x03\r")
        assert os.read(inner, 100) == b"\x03\r"
    assert termios.tcgetattr(inner) == before


def test_raw_is_for_terminals(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, raw(file.fileno()):
        pass


async def test_sizes_now_and_after_each_change(terminal: tuple[int, int]) -> None:
    _, inner = terminal
    sizes = window_sizes(inner)
    tasks = Tasks("test")

    async def next_size() -> TerminalSize:
        return await anext(sizes)

    first = tasks.start(next_size(), name="size")
    await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGWINCH)  # a size of 0 by 0 is none
    resize(inner, 24, 80)
    os.kill(os.getpid(), signal.SIGWINCH)
    assert await first == TerminalSize(80, 24)
    resize(inner, 30, 100)
    os.kill(os.getpid(), signal.SIGWINCH)
    assert await anext(sizes) == TerminalSize(100, 30)
    await sizes.aclose()  # type: ignore[attr-defined]


async def test_input_from_a_pipe_a_file_and_nothing(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    source, tasks = LocalInput(reading), Tasks("test")
    waiting = tasks.start(source.read(), name="read")
    await asyncio.sleep(0.01)
    os.write(writing, b"abc")
    assert await waiting == b"abc"
    os.close(writing)
    assert [await source.read() for _ in range(2)] == [b"", b""]
    os.close(reading)
    (tmp_path / "file").write_bytes(b"abc")
    for path, data in ((tmp_path / "file", b"abc"), (Path("/dev/null"), b"")):
        with path.open("rb") as file:
            assert [await LocalInput(file.fileno()).read() for _ in range(2)] == [data, b""]


async def test_output_to_a_pipe_whose_reader_is_slow_or_gone() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as file:
        sink, tasks = LocalOutput(file), Tasks("test")
        written = tasks.start(sink.write(bytes(1 << 20)), name="write")
        await asyncio.sleep(0.01)
        assert not written.done()
        left = 1 << 20
        while left:
            left -= len(os.read(reading, 65536))
        await written
        await sink.close()
        os.close(reading)
        with pytest.raises(BrokenPipeError):
            await sink.write(b"x")
        try:
            file.close()
        except BrokenPipeError:
            pass
