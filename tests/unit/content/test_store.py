"""The content store: nothing unverified is ever visible, nothing that arrived is fetched twice."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import threading
import time
from pathlib import Path

import pytest

from podwright.base.errors import Internal, NotFound, ResourceExhausted
from podwright.content.ingest import BATCH_BYTES, DigestMismatch, Ingest, IngestClosed
from podwright.content.store import ContentStore
from podwright.oci.digest import Digest, digest_of

DATA = random.Random(1).randbytes(3 * BATCH_BYTES + 12345)
DIGEST = digest_of(DATA)


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "content")


def partials(store: ContentStore) -> list[Path]:
    return list((store.path(DIGEST).parent.parent.parent / "ingest").iterdir())


async def write(ingest: Ingest, data: bytes) -> None:
    for start in range(0, len(data), 65536):
        await ingest.write(data[start : start + 65536], source="the test's bytes")


async def write_and_commit(ingest: Ingest, data: bytes) -> None:
    await write(ingest, data)
    await ingest.commit(source="the test's bytes")


async def test_a_blob_becomes_visible_when_it_is_verified(store: ContentStore) -> None:
    ingest = await store.open_ingest(DIGEST, len(DATA))
    assert store.running(DIGEST) is ingest
    await write(ingest, DATA)
    await ingest.flush()
    assert ingest.offset == ingest.received == len(DATA)
    assert not store.has(DIGEST)
    await ingest.commit()
    assert store.path(DIGEST).read_bytes() == DATA
    await ingest.close()
    await ingest.close()
    assert (store.size(DIGEST), store.digests(), partials(store)) == (len(DATA), [DIGEST], [])
    assert store.running(DIGEST) is None
    assert store.path(DIGEST).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("moment", ["_open", "_publish"])
async def test_cancelled_while_a_thread_has_the_file(
    store: ContentStore, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The next ingest begins only when that thread is done, and no descriptor is lost (conftest.py looks)."""
    original, begun, goes_on = getattr(Ingest, moment), threading.Event(), threading.Event()

    def slow(ingest: Ingest) -> int:
        begun.set()
        goes_on.wait()
        return int(original(ingest))

    monkeypatch.setattr(Ingest, moment, slow)
    putting = asyncio.ensure_future(store.put(DATA))  # noqa: TID251
    await asyncio.to_thread(begun.wait)
    putting.cancel()
    await asyncio.sleep(0.01)
    goes_on.set()
    await asyncio.wait([putting])
    assert putting.cancelled()
    monkeypatch.undo()
    assert await store.put(DATA) == DIGEST
    assert (store.path(DIGEST).read_bytes(), partials(store)) == (DATA, [])


async def test_sha512(store: ContentStore) -> None:
    digest = await store.put(b"abc", algorithm="sha512")
    assert digest == "sha512:" + hashlib.sha512(b"abc").hexdigest()
    assert store.read(digest, limit_bytes=3) == b"abc"
    assert store.digests() == [digest]


async def test_the_second_writer_finds_the_work_done(store: ContentStore) -> None:
    first = await store.open_ingest(DIGEST, len(DATA))
    waiting = asyncio.ensure_future(store.open_ingest(DIGEST, len(DATA)))  # noqa: TID251
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await write(first, DATA)
    await first.commit()
    await first.close()
    second = await waiting
    assert second.committed
    assert second.offset == len(DATA)
    await second.close()


async def test_a_broken_off_blob_is_resumed(store: ContentStore) -> None:
    for begin, end in ((0, 100_000), (100_000, BATCH_BYTES + 5), (BATCH_BYTES + 5, len(DATA))):
        ingest = await store.open_ingest(DIGEST, len(DATA))
        assert ingest.received == begin
        await write(ingest, DATA[begin:end])
        if end == len(DATA):
            await ingest.commit()
        await ingest.close()
    assert store.read(DIGEST, limit_bytes=len(DATA)) == DATA


async def test_a_cancelled_writer_leaves_what_it_had(store: ContentStore) -> None:
    ingest = await store.open_ingest(DIGEST, len(DATA))

    async def writer() -> None:
        try:
            await write(ingest, DATA[: 2 * BATCH_BYTES])
            await asyncio.sleep(60)
        finally:
            await ingest.close()

    task = asyncio.ensure_future(writer())  # noqa: TID251
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    again = await store.open_ingest(DIGEST, len(DATA))
    assert again.received == 2 * BATCH_BYTES
    await again.discard()
    await again.close()


@pytest.mark.parametrize("size", [len(DATA), len(DATA) - 1, len(DATA) + 1])
async def test_a_wrong_digest_or_size_deletes_what_came(store: ContentStore, size: int) -> None:
    other = digest_of(b"something else") if size == len(DATA) else DIGEST
    ingest = await store.open_ingest(other, size)
    with pytest.raises(DigestMismatch, match="the test's bytes is not what it should be: expected") as caught:
        await write_and_commit(ingest, DATA)
    assert caught.value.source == "the test's bytes"
    assert partials(store) == []
    with pytest.raises(DigestMismatch):
        await ingest.write(b"x")
    await ingest.close()
    assert not store.has(other)
    fresh = await store.open_ingest(other, size)
    assert fresh.received == 0
    await fresh.discard()
    await fresh.close()


async def test_a_damaged_partial_file_is_found_out(store: ContentStore) -> None:
    ingest = await store.open_ingest(DIGEST, len(DATA))
    await write(ingest, DATA[:1000])
    await ingest.close()
    partials(store)[0].write_bytes(b"x" * 1000)
    again = await store.open_ingest(DIGEST, len(DATA))
    await write(again, DATA[1000:])
    with pytest.raises(DigestMismatch):
        await again.commit()
    await again.close()
    assert partials(store) == []


async def test_a_partial_file_that_is_too_long_starts_over(store: ContentStore) -> None:
    ingest = await store.open_ingest(DIGEST, len(DATA))
    await write(ingest, DATA[:1000])
    await ingest.close()
    small = await store.open_ingest(DIGEST, 999)
    assert small.received == 0
    await small.discard()
    await small.close()


async def test_followers_read_while_it_grows(store: ContentStore) -> None:
    ingest = await store.open_ingest(DIGEST, len(DATA))
    fd = ingest.open_reader()
    seen = hashlib.sha256()

    async def follow() -> str:
        at = 0
        while at < len(DATA):
            until = await ingest.wait_beyond(at)
            seen.update(os.pread(fd, until - at, at))
            at = until
        assert await ingest.wait_beyond(at) == at
        await ingest.wait_committed()
        return seen.hexdigest()

    follower = asyncio.ensure_future(follow())  # noqa: TID251
    await write(ingest, DATA)
    await ingest.flush()
    await asyncio.sleep(0)
    assert not follower.done()
    await ingest.commit()
    assert f"sha256:{await follower}" == DIGEST
    os.close(fd)
    await ingest.close()


async def test_followers_learn_of_failure(store: ContentStore) -> None:
    closed = await store.open_ingest(DIGEST, len(DATA))
    waiting = asyncio.ensure_future(closed.wait_beyond(0))  # noqa: TID251
    await asyncio.sleep(0)
    await closed.close()
    with pytest.raises(IngestClosed, match="broken off"):
        await waiting

    wrong = await store.open_ingest(DIGEST, 3)
    waiting = asyncio.ensure_future(wrong.wait_beyond(0))  # noqa: TID251
    committed = asyncio.ensure_future(wrong.wait_committed())  # noqa: TID251
    await wrong.write(b"abc")
    with pytest.raises(DigestMismatch):
        await wrong.commit()
    assert await waiting == 3
    with pytest.raises(DigestMismatch):
        await committed
    await wrong.close()


async def test_reading(store: ContentStore) -> None:
    digest = await store.put(b"small")
    assert await store.put(b"small") == digest
    assert store.read(digest, limit_bytes=5) == b"small"
    with pytest.raises(ResourceExhausted, match="5 bytes; at most 4"):
        store.read(digest, limit_bytes=4)
    store.path(digest).write_bytes(b"rotten")
    with pytest.raises(DigestMismatch, match="the stored file"):
        store.read(digest, limit_bytes=10)
    store.delete(digest)
    store.delete(digest)
    with pytest.raises(NotFound):
        store.read(digest, limit_bytes=5)
    assert store.digests() == []


async def test_nothing_unparsed_becomes_a_path(store: ContentStore) -> None:
    with pytest.raises(Internal, match="was not parsed"):
        await store.open_ingest(Digest("sha256:../../../etc/passwd"), 1)


async def test_old_partial_files_are_swept(store: ContentStore) -> None:
    for data in (b"old", b"young", b"busy"):
        ingest = await store.open_ingest(digest_of(data), 10)
        await ingest.write(data)
        await ingest.close()
    busy = await store.open_ingest(digest_of(b"busy"), 10)
    hour_ago = time.time() - 3600
    for path in partials(store):
        if digest_of(b"young")[7:] not in path.name:
            os.utime(path, (hour_ago, hour_ago))
    assert store.sweep_ingests(older_than_s=1800) == 1
    assert len(partials(store)) == 2
    await busy.close()


async def test_an_empty_blob(store: ContentStore) -> None:
    digest = await store.put(b"")
    assert store.read(digest, limit_bytes=0) == b""
