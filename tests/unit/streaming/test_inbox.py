"""What has arrived and isn't read yet."""

import asyncio

import pytest

from podwright.base.tasks import Tasks
from podwright.streaming.inbox import LIMIT_BYTES, Inbox


async def test_bytes_then_the_end_again_and_again() -> None:
    inbox = Inbox()
    inbox.put(b"a")
    inbox.put(b"b")
    inbox.end()
    inbox.fail("later")
    assert [await inbox.read() for _ in range(3)] == [b"ab", b"", b""]


async def test_who_goes_away_without_an_end_is_an_error_after_the_bytes() -> None:
    inbox = Inbox()
    inbox.put(b"a")
    inbox.fail("gone")
    assert await inbox.read() == b"a"
    for _ in range(2):
        with pytest.raises(ConnectionError, match="gone"):
            await inbox.read()


async def test_a_full_inbox_makes_the_sender_wait_until_it_is_read() -> None:
    inbox, tasks = Inbox(), Tasks("test")
    inbox.put(bytes(LIMIT_BYTES + 1))
    waiting = tasks.start(inbox.room(), name="wait")
    await asyncio.sleep(0)
    assert inbox.full
    assert not waiting.done()
    assert len(await inbox.read()) == LIMIT_BYTES + 1
    await waiting
    assert not inbox.full


@pytest.mark.parametrize("how", ["discard", "fail"])
async def test_nobody_waits_for_a_reader_that_will_not_come(how: str) -> None:
    inbox, tasks = Inbox(), Tasks("test")
    inbox.put(bytes(LIMIT_BYTES + 1))
    waiting = tasks.start(inbox.room(), name="wait")
    await asyncio.sleep(0)
    if how == "discard":
        inbox.discard()
        inbox.put(b"more")
        assert await inbox.read() == b""
    else:
        inbox.fail("gone")
    await waiting


async def test_a_reader_waits_for_bytes() -> None:
    inbox, tasks = Inbox(), Tasks("test")
    reading = tasks.start(inbox.read(), name="read")
    await asyncio.sleep(0)
    inbox.put(b"x")
    assert await reading == b"x"
