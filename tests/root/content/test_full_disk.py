"""The content store on a file system without room."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from podwright.base.errors import ResourceExhausted
from podwright.content.store import ContentStore
from podwright.linux.syscalls import mount, umount2
from podwright.oci.digest import digest_of

pytestmark = pytest.mark.root

DATA = random.Random(1).randbytes(6 * 1024 * 1024)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount("tmpfs", str(tmp_path), "tmpfs", 0, "size=4m")
    try:
        yield tmp_path
    finally:
        umount2(str(tmp_path))


async def test_a_full_disk_is_told_and_the_download_goes_on_when_there_is_room(small_disk: Path) -> None:
    store = ContentStore(small_disk / "content")
    digest = digest_of(DATA)
    ingest = await store.open_ingest(digest, len(DATA))
    with pytest.raises(ResourceExhausted, match=f"no space left for {small_disk}"):
        await write_all(store, DATA)
    await ingest.close()
    assert not store.has(digest)
    mount(None, str(small_disk), None, 32, "size=16m")  # MS_REMOUNT
    again = await store.open_ingest(digest, len(DATA))
    assert again.received > 3 * 1024 * 1024
    await again.write(DATA[again.received :])
    await again.commit()
    await again.close()
    assert store.read(digest, limit_bytes=len(DATA)) == DATA


async def write_all(store: ContentStore, data: bytes) -> None:
    ingest = store.running(digest_of(data))
    assert ingest is not None
    for start in range(0, len(data), 65536):
        await ingest.write(data[start : start + 65536])
    await ingest.flush()
