"""Docker's log messages, and going on in the middle of a log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.wire.cri_log import format_time
from podwright.wire.docker_log import (
    PIECE_BYTES,
    BadMessage,
    FramedMessages,
    LogPlace,
    Message,
    Resume,
    TerminalMessages,
)
from podwright.wire.docker_stream import Stream, encode_frame

TIME = b"2026-11-25T22:54:42.739804756Z"


def framed(stream: Stream, content: bytes, time: bytes = TIME) -> bytes:
    return encode_frame(stream, time + b" " + content)


def test_frames_are_messages() -> None:
    reader = FramedMessages()
    data = framed(Stream.STDOUT, b"one\n") + framed(Stream.STDERR, b"two") + framed(Stream.STDOUT, b"\n")
    found = [message for at in range(0, len(data), 7) for message in reader.feed(data[at : at + 7])]
    assert found == [
        Message(TIME, "stdout", b"one", True),
        Message(TIME, "stderr", b"two", False),
        Message(TIME, "stdout", b"", True),
    ]
    assert list(reader.finish()) == []


def test_a_frame_that_broke_off_is_no_message() -> None:
    reader = FramedMessages()
    assert list(reader.feed(framed(Stream.STDOUT, b"one\n")[:-1])) == []
    assert list(reader.finish()) == []


def test_a_terminals_messages_follow_without_a_mark() -> None:
    reader = TerminalMessages()
    long = b"x" * PIECE_BYTES
    data = b"".join(TIME + b" " + content for content in (b"out\r\n", long, long, b"yy\r\n", b"\n", b"last"))
    found = [message for at in range(0, len(data), 999) for message in reader.feed(data[at : at + 999])]
    assert [(m.content, m.whole) for m in found] == [
        (b"out\r", True), (long, False), (long, False), (b"yy\r", True), (b"", True),
    ]  # fmt: skip
    assert [(m.content, m.whole) for m in reader.finish()] == [(b"last", False)]


@pytest.mark.parametrize("content", [b"", b"no time\n", TIME, TIME + b"x\n"])
def test_what_is_no_message(content: bytes) -> None:
    with pytest.raises(BadMessage):
        list(FramedMessages().feed(encode_frame(Stream.STDOUT, content)))


@given(
    st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.integers(0, 2)), max_size=40),
    st.data(),
)
def test_each_message_once_wherever_the_log_was_left(steps: list[tuple[str, int]], data: st.DataObject) -> None:
    """Times of one stream never fall, and many are equal; those of the two streams have nothing to do with each
    other."""
    clocks = {"stdout": 10**18, "stderr": 10**18 + 1}
    log: list[Message] = []
    for number, (stream, later) in enumerate(steps):
        clocks[stream] += later
        log.append(Message(format_time(clocks[stream]), stream, str(number).encode(), True))
    place = LogPlace()
    taken: list[Message] = []
    while len(taken) < len(log):
        resume = Resume(place)
        new = [message for message in log if resume.is_new(message)]
        for message in new[: data.draw(st.integers(1, len(new)))]:
            taken.append(message)
            place.pass_by(message)
    assert taken == log
    resume = Resume(place)
    assert not any(resume.is_new(message) for message in log)
